//! A component of a world of its own, which knows nothing of Palisade: values of every type, errors, a resource.

#![cfg(target_family = "wasm")]
#![allow(unsafe_code, reason = "bindings of its own, generated")]
#![allow(missing_docs, reason = "the bindings say what it has")]

use std::cell::Cell;

wit_bindgen::generate!({
    inline: r#"
        package test:foreign@1.2.0;

        interface shapes {
            enum unit { piece, gram, milli-litre }
            flags perms { read, write, run-it }
            variant shape { none, circle(f64), named(string), corners(list<tuple<s32, s32>>) }
            record all {
                yes: bool,
                a-s8: s8, a-u8: u8, a-s16: s16, a-u16: u16, a-s32: s32, a-u32: u32, a-s64: s64, a-u64: u64,
                half: f32, whole: f64,
                sign: char, text: string,
                raw: list<u8>, many: list<s64>, pair: tuple<string, u64>,
                unit: unit, perms: perms, shape: shape,
                maybe: option<u8>, maybe-maybe: option<option<bool>>,
                plain: result, full: result<u8, string>,
                names: map<string, u32>, numbers: map<u16, string>,
            }

            resource counter {
                constructor();
                next: func() -> u32;
            }

            echo: func(it: all) -> all;
            divide: func(a: s64, b: s64) -> result<s64, string>;
            refuse: func(unit: unit) -> result<u8, shape>;
            nothing: func();
            bytes: func(count: u32) -> list<u8>;
            %flags: func(count: u32) -> list<perms>;
            words: func(count: u32) -> list<string>;
            optional: func(text: option<string>) -> string;
            open: func() -> counter;
            trap: func();
            spin: func();
        }

        world foreign {
            export shapes;
            export greet: func(name: string) -> string;
            export SHOUT-at: func(name: string) -> string;
        }
    "#,
});

use exports::test::foreign::shapes::{self, All, GuestCounter, Shape, Unit};

struct Foreign;
export!(Foreign);

impl Guest for Foreign {
    fn greet(name: String) -> String {
        format!("Hello, {name}!")
    }

    fn shout_at(name: String) -> String {
        name.to_uppercase()
    }
}

struct Counter(Cell<u32>);

impl GuestCounter for Counter {
    fn new() -> Self {
        Self(Cell::new(0))
    }

    fn next(&self) -> u32 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

impl shapes::Guest for Foreign {
    type Counter = Counter;

    fn echo(it: All) -> All {
        it
    }

    fn divide(a: i64, b: i64) -> Result<i64, String> {
        a.checked_div(b).ok_or_else(|| "nothing is divided by that".to_owned())
    }

    fn refuse(unit: Unit) -> Result<u8, Shape> {
        match unit {
            Unit::Piece => Err(Shape::None),
            Unit::Gram => Err(Shape::Corners(vec![(1, -1)])),
            Unit::MilliLitre => Ok(7),
        }
    }

    fn nothing() {}

    fn bytes(count: u32) -> Vec<u8> {
        vec![7; count as usize]
    }

    fn flags(count: u32) -> Vec<shapes::Perms> {
        vec![shapes::Perms::all(); count as usize]
    }

    fn words(count: u32) -> Vec<String> {
        vec!["x".repeat(1000); count as usize]
    }

    fn optional(text: Option<String>) -> String {
        text.unwrap_or_else(|| "nothing".to_owned())
    }

    fn open() -> shapes::Counter {
        shapes::Counter::new(Counter::new())
    }

    fn trap() {
        panic!("as asked");
    }

    fn spin() {
        loop {
            std::hint::black_box(());
        }
    }
}
