//! A guest that keeps things: it passes on what it is asked, and counts with others at once.

use palisade_sdk::{Result, arguments, store, tool};

/// A key.
#[arguments]
pub struct Key {
    /// The key.
    pub key: String,
}

/// A key and what it gets.
#[arguments]
pub struct Entry {
    /// The key.
    pub key: String,
    /// How many bytes its value has.
    pub bytes: u32,
}

/// How often.
#[arguments]
pub struct Times {
    /// How often.
    pub times: u32,
}

/// Says how long a value is, or that there is none.
#[tool]
fn size(args: Key) -> Result<String> {
    Ok(store::get(&args.key)?.map_or("none".to_owned(), |value| value.len().to_string()))
}

/// A key and how often.
#[arguments]
pub struct Again {
    /// The key.
    pub key: String,
    /// How often.
    pub times: u32,
}

/// Gets a key that many times, and says how many bytes came.
#[tool]
fn gets(args: Again) -> Result<String> {
    let mut bytes = 0;
    for _ in 0..args.times {
        bytes += store::get(&args.key)?.map_or(0, |value| value.len());
    }
    Ok(bytes.to_string())
}

/// Sets a value of so many bytes.
#[tool]
fn put(args: Entry) -> Result<String> {
    store::set(&args.key, &vec![b'x'; args.bytes as usize])?;
    Ok("set".to_owned())
}

/// Removes a key.
#[tool]
fn remove(args: Key) -> Result<String> {
    Ok(store::delete(&args.key)?.to_string())
}

/// Makes that many keys, one after the other.
#[tool]
fn many(args: Times) -> Result<String> {
    (0..args.times).try_for_each(|i| store::set(&format!("key-{i:06}"), b"x"))?;
    Ok("made".to_owned())
}

/// Adds one to a number that others add to at the same time, and says what it made of it.
#[tool]
fn count(args: Key) -> Result<String> {
    loop {
        let before = store::get(&args.key)?;
        let number = match &before {
            None => 0,
            Some(text) => std::str::from_utf8(text)?.parse::<u64>()?,
        };
        let next = (number + 1).to_string();
        if store::swap(&args.key, before.as_deref(), Some(next.as_bytes()))? {
            return Ok(next);
        }
    }
}

palisade_sdk::export!(size, gets, put, remove, many, count);
