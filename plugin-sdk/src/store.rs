//! The plugin's own key-value store: all that one call leaves to the next. Its manifest asks for it with `store = true`.
//!
//! Outside a component it is a map in memory, one for each thread, so that a plugin's own tests can use it.
//!
//! ```
//! use palisade_sdk::store;
//! store::set("greeting", b"hello").unwrap();
//! assert_eq!(store::get("greeting").unwrap().as_deref(), Some(&b"hello"[..]));
//! assert!(!store::swap("greeting", None, Some(b"again")).unwrap(), "it is there already");
//! assert_eq!(store::keys("gr", None, 10).unwrap(), ["greeting"]);
//! assert!(store::delete("greeting").unwrap());
//! ```

use std::fmt;

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The key is empty, or longer than 512 bytes where the user set nothing else.
    Key,
    /// The value is longer than 1 MiB where the user set nothing else.
    Value,
    /// There is no room for it.
    Full,
    /// The store cannot be used; the operator sees why.
    Unavailable,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "the key is empty or too long for the store",
            Self::Value => "the value is too large for the store",
            Self::Full => "the store is full",
            Self::Unavailable => "the store cannot be used",
        })
    }
}

/// The value of a key.
///
/// # Errors
/// [`Error`].
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    backend::get(key)
}

/// Sets a value, whatever was there.
///
/// # Errors
/// [`Error`].
pub fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    backend::set(key, value)
}

/// Removes a key; whether it was there.
///
/// # Errors
/// [`Error`].
pub fn delete(key: &str) -> Result<bool, Error> {
    backend::delete(key)
}

/// Sets a value, or removes it with `None`, if the key still has the value `expected`; whether it did. Another call may
/// have changed what this one read: this is how nothing is lost.
///
/// # Errors
/// [`Error`].
pub fn swap(key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, Error> {
    backend::swap(key, expected, value)
}

/// The keys that begin with `prefix` and come after `after`, in the order of their bytes: at most `most` and at most 1 000.
///
/// # Errors
/// [`Error`].
pub fn keys(prefix: &str, after: Option<&str>, most: u32) -> Result<Vec<String>, Error> {
    backend::keys(prefix, after, most)
}

#[cfg(target_arch = "wasm32")]
mod backend {
    use super::Error;
    use crate::bindings::palisade::plugin::store::{self, StoreError};

    impl From<StoreError> for Error {
        fn from(error: StoreError) -> Self {
            match error {
                StoreError::Key => Self::Key,
                StoreError::Value => Self::Value,
                StoreError::Full => Self::Full,
                StoreError::Unavailable => Self::Unavailable,
            }
        }
    }

    pub(super) fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(store::get(key)?)
    }

    pub(super) fn set(key: &str, value: &[u8]) -> Result<(), Error> {
        Ok(store::set(key, value)?)
    }

    pub(super) fn delete(key: &str) -> Result<bool, Error> {
        Ok(store::delete(key)?)
    }

    pub(super) fn swap(key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, Error> {
        Ok(store::swap(key, expected, value)?)
    }

    pub(super) fn keys(prefix: &str, after: Option<&str>, most: u32) -> Result<Vec<String>, Error> {
        Ok(store::keys(prefix, after, most)?)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod backend {
    use super::Error;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local!(static ENTRIES: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) });

    fn with<T>(key: &str, work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> Result<T, Error> {
        if key.is_empty() || key.len() > 512 { Err(Error::Key) } else { Ok(ENTRIES.with_borrow_mut(work)) }
    }

    pub(super) fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        with(key, |entries| entries.get(key).cloned())
    }

    pub(super) fn set(key: &str, value: &[u8]) -> Result<(), Error> {
        with(key, |entries| drop(entries.insert(key.to_owned(), value.to_owned())))
    }

    pub(super) fn delete(key: &str) -> Result<bool, Error> {
        with(key, |entries| entries.remove(key).is_some())
    }

    pub(super) fn swap(key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, Error> {
        with(key, |entries| {
            let same = entries.get(key).map(Vec::as_slice) == expected;
            match value {
                Some(value) if same => drop(entries.insert(key.to_owned(), value.to_owned())),
                None if same => drop(entries.remove(key)),
                _ => {}
            }
            same
        })
    }

    pub(super) fn keys(prefix: &str, after: Option<&str>, most: u32) -> Result<Vec<String>, Error> {
        let most = most.min(1000) as usize;
        let fits = |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
        Ok(ENTRIES.with_borrow(|entries| entries.keys().filter(fits).take(most).cloned().collect()))
    }
}
