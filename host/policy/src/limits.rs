//! The limits, in one table: key, kind, default, and the reason for the number.
//!
//! The user's config sets a limit; a workspace and a manifest only lower it.

use std::sync::Arc;
use std::time::Duration;

/// How a limit is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `"5s"`, `"250ms"`; kept in milliseconds.
    Time,
    /// `"64MiB"` or a number of bytes.
    Size,
    /// A number.
    Count,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident $key:literal $kind:ident $default:expr;)*) => {
        /// One limit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Limit { $($(#[$doc])* $name,)* }

        impl Limit {
            /// Every limit, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its key under `[limits]`.
            #[must_use]
            pub fn key(self) -> &'static str { match self { $(Self::$name => $key,)* } }

            fn kind(self) -> Kind { match self { $(Self::$name => Kind::$kind,)* } }

            /// Its default: milliseconds, bytes or a count.
            #[must_use]
            pub fn default_value(self) -> u64 { match self { $(Self::$name => $default,)* } }
        }
    };
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

limits! {
    /// Wall time of a tool call. One call is one thread, so it bounds its CPU too. Long enough for a search over a large tree.
    Time "time" Time 30_000;
    /// Wall time of reading a source's definitions: they are static text, ten seconds is a hang.
    DefinitionsTime "definitions_time" Time 10_000;
    /// Wall time of a hook for one event: calls wait for it, and it answers from what it is told.
    HookTime "hook_time" Time 1_000;
    /// Time between "cancelled" and the end of an instance: enough to notice, too short to do harm.
    Grace "grace" Time 100;
    /// Memory of an instance, summed over all its linear memories. Interpreters compiled to components need about 60 MiB.
    Memory "memory" Size 128 * MIB;
    /// Table elements of an instance; the largest language runtime seen needs 7 688.
    TableElements "table_elements" Count 100_000;
    /// Core instances of a component; language runtimes need up to 40.
    Instances "instances" Count 200;
    /// Linear memories of a component.
    Memories "memories" Count 32;
    /// Resource handles of an instance.
    Handles "handles" Count 10_000;
    /// Arguments of a call.
    Arguments "arguments" Size MIB;
    /// The result of a call, and any one list or string that crosses the boundary.
    Result "result" Size 4 * MIB;
    /// The log of a call; what is above is dropped and counted.
    Log "log" Size 64 * KIB;
    /// Calls of a component into the host: a million take a fifth of a second, and are a flood.
    HostCalls "host_calls" Count 1_000_000;
    /// Bytes a call writes through its write grants.
    WrittenBytes "written_bytes" Size 256 * MIB;
    /// Files, folders and links a call makes through its write grants.
    WrittenFiles "written_files" Count 10_000;
    /// Requests of a call over the network; a page and its redirects take six.
    NetRequests "net_requests" Count 32;
    /// Finding a host, connecting to it and agreeing on TLS, together; a far host takes two seconds.
    NetConnect "net_connect" Time 10_000;
    /// The wait for the head of a response, and for each piece of its body.
    NetIdle "net_idle" Time 30_000;
    /// The head of a response; servers and proxies agree on at most 8 to 16 KiB.
    NetHeaders "net_headers" Size 64 * KIB;
    /// The body of a request or response, counted as it passes; far above what a tool can return.
    NetBody "net_body" Size 10 * MIB;
    /// A key of a plugin's store.
    StoreKey "store_key" Size 512;
    /// A value of a plugin's store.
    StoreValue "store_value" Size MIB;
    /// All keys and values of a plugin's store, together.
    StoreBytes "store_bytes" Size 64 * MIB;
    /// Keys of a plugin's store.
    StoreKeys "store_keys" Count 100_000;
    /// From the start of an external server to its tools; one that installs itself first takes longer, and should not.
    McpStart "mcp_start" Time 20_000;
    /// Between a friendly signal to a child process and the other one.
    ChildGrace "child_grace" Time 2_000;
    /// Memory an external server may write to; what its runtime only reserves does not count.
    ChildMemory "child_memory" Size 4096 * MIB;
    /// CPU time of an external server, from its start to its end.
    ChildCpu "child_cpu" Time 3_600_000;
    /// Calls in flight, in all: each holds a slot of the pool.
    InFlight "in_flight" Count 64;
    /// Calls in flight of one source: a quarter of all, so that no source takes every slot.
    InFlightSource "in_flight_source" Count 16;
    /// CPU time of compiling a component; 18 MB of a language runtime take eleven seconds.
    CompileTime "compile_time" Time 120_000;
    /// Memory of compiling a component.
    CompileMemory "compile_memory" Size 4096 * MIB;
    /// The size of a component.
    Component "component" Size 64 * MIB;
    /// Turns of a session.
    Turns "turns" Count 8;
    /// Tokens of a session.
    Tokens "tokens" Count u64::MAX;
}

/// Why a value is not a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// No such key.
    #[error("there is no limit of this name")]
    Unknown,
    /// Not a time.
    #[error("a time is written like \"5s\" or \"250ms\", and is not zero")]
    Time,
    /// Not a size.
    #[error("a size is written like \"64MiB\" or as a number of bytes, and is not zero")]
    Size,
    /// Not a count.
    #[error("a count is a whole number above zero")]
    Count,
    /// Above what the layer below set.
    #[error("it may only lower the limit, which is {0}")]
    Raises(String),
}

/// A value as a file holds it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(untagged)]
pub enum Written {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

/// All limits, with their values.
///
/// Shared until it is changed: each call holds one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits(Arc<[u64]>);

impl Default for Limits {
    fn default() -> Self {
        Self(Limit::ALL.iter().map(|l| l.default_value()).collect())
    }
}

impl Limits {
    /// The value: milliseconds, bytes or a count.
    #[must_use]
    pub fn get(&self, limit: Limit) -> u64 {
        self.0[limit as usize]
    }

    /// The value of a limit that is small enough for memory.
    #[must_use]
    pub fn size(&self, limit: Limit) -> usize {
        usize::try_from(self.get(limit)).unwrap_or(usize::MAX)
    }

    /// The value of a time.
    #[must_use]
    pub fn time(&self, limit: Limit) -> Duration {
        Duration::from_millis(self.get(limit))
    }

    /// Sets a value: the user's right.
    pub fn set(&mut self, limit: Limit, value: u64) {
        Arc::make_mut(&mut self.0)[limit as usize] = value;
    }

    /// Lowers a value, or leaves it.
    pub fn lower(&mut self, limit: Limit, value: u64) {
        self.set(limit, value.min(self.get(limit)));
    }

    /// Lowers a value, and refuses to raise it.
    ///
    /// # Errors
    /// [`LimitError::Raises`].
    pub fn only_lower(&mut self, limit: Limit, value: u64) -> Result<(), LimitError> {
        if value > self.get(limit) {
            return Err(LimitError::Raises(limit.show(self.get(limit))));
        }
        self.set(limit, value);
        Ok(())
    }
}

impl Limit {
    /// The limit of that key, and the value as written.
    ///
    /// # Errors
    /// An unknown key, or a value of the wrong form.
    pub fn parse(key: &str, value: &Written) -> Result<(Self, u64), LimitError> {
        let limit = Self::ALL.iter().copied().find(|l| l.key() == key).ok_or(LimitError::Unknown)?;
        let parsed = match (limit.kind(), value) {
            (Kind::Time, Written::Text(text)) => {
                let time = humantime::parse_duration(text).map_err(|_| LimitError::Time)?;
                u64::try_from(time.as_millis()).ok().filter(|ms| *ms > 0).ok_or(LimitError::Time)?
            }
            (Kind::Time, Written::Number(_)) => return Err(LimitError::Time),
            (Kind::Size, Written::Text(text)) => text.parse::<bytesize::ByteSize>().map_err(|_| LimitError::Size)?.as_u64(),
            (Kind::Size | Kind::Count, Written::Number(number)) => *number,
            (Kind::Count, Written::Text(_)) => return Err(LimitError::Count),
        };
        match (parsed, limit.kind()) {
            (0, Kind::Size) => Err(LimitError::Size),
            (0, Kind::Count) => Err(LimitError::Count),
            _ => Ok((limit, parsed)),
        }
    }

    /// A value of this limit, as a person writes it.
    #[must_use]
    pub fn show(self, value: u64) -> String {
        match self.kind() {
            Kind::Time => humantime::format_duration(Duration::from_millis(value)).to_string(),
            Kind::Size => bytesize::ByteSize::b(value).display().iec().to_string(),
            Kind::Count => value.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_read_in_their_units() {
        let text = |t: &str| Written::Text(t.to_owned());
        assert_eq!(Limit::parse("time", &text("5s")), Ok((Limit::Time, 5000)));
        assert_eq!(Limit::parse("memory", &text("64MiB")), Ok((Limit::Memory, 64 * MIB)));
        assert_eq!(Limit::parse("turns", &Written::Number(3)), Ok((Limit::Turns, 3)));
        assert_eq!(Limit::parse("tiem", &text("5s")), Err(LimitError::Unknown));
        for (key, value) in [("time", Written::Number(5)), ("time", text("0s")), ("memory", text("lots")), ("turns", Written::Number(0))] {
            assert!(Limit::parse(key, &value).is_err(), "{key} {value:?}");
        }
    }

    proptest! {
        #[test]
        fn lowering_never_raises(which in 0..Limit::ALL.len(), value in any::<u64>()) {
            let (limit, mut limits) = (Limit::ALL[which], Limits::default());
            let before = limits.get(limit);
            let refused = limits.only_lower(limit, value).is_err();
            prop_assert_eq!(refused, value > before);
            limits.lower(limit, value);
            prop_assert!(limits.get(limit) <= before);
        }
    }
}
