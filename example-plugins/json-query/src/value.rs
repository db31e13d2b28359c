//! Turns a filter's values into JSON, within bounds.

use jaq_json::{Num, Val};
use palisade_sdk::serde_json::{self, Map, Value};

/// Deepest result. Readers of JSON commonly stop at 128, and the results are nested themselves.
const DEPTH: usize = 100;

/// The bytes that are left for results. A value can share its parts, so that a small one is JSON without end.
pub struct Budget(usize);

/// Why a value is not among the results.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// There is no room left.
    Full,
    /// JSON has no such thing.
    NotJson(&'static str),
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// The value as JSON.
    pub fn value(&mut self, value: &Val) -> Result<Value, Stop> {
        self.below(value, DEPTH)
    }

    fn below(&mut self, value: &Val, depth: usize) -> Result<Value, Stop> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Stop::NotJson("it is nested deeper than 100 levels"));
        };
        match value {
            Val::Null => self.spend(4).map(|()| Value::Null),
            Val::Bool(bool) => self.spend(5).map(|()| Value::Bool(*bool)),
            Val::Num(num) => self.number(num),
            Val::TStr(bytes) => self.text(bytes).map(Value::String),
            Val::BStr(_) => Err(Stop::NotJson("it holds a byte string")),
            Val::Arr(items) => {
                self.spend(2)?;
                items.iter().map(|item| self.below(item, depth)).collect::<Result<_, _>>().map(Value::Array)
            }
            Val::Obj(entries) => {
                self.spend(2)?;
                let mut object = Map::new();
                for (key, value) in entries.iter() {
                    let Val::TStr(key) = key else {
                        return Err(Stop::NotJson("it holds an object with a key that is not a string"));
                    };
                    object.insert(self.text(key)?, self.below(value, depth)?);
                }
                Ok(Value::Object(object))
            }
        }
    }

    fn number(&mut self, number: &Num) -> Result<Value, Stop> {
        let text = number.to_string();
        self.spend(text.len())?;
        // Not a number and the infinities have no JSON; jq writes null for the first.
        Ok(serde_json::from_str(&text).map_or(Value::Null, Value::Number))
    }

    fn text(&mut self, bytes: &[u8]) -> Result<String, Stop> {
        // As long as it becomes when it is escaped.
        let written = |byte: &u8| match byte {
            0..0x20 => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        };
        self.spend(2 + bytes.iter().map(written).sum::<usize>())?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Takes bytes and the comma or colon after them.
    fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        self.0 = self.0.checked_sub(bytes.saturating_add(1)).ok_or(Stop::Full)?;
        Ok(())
    }
}
