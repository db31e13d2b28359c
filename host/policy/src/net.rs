//! The grammar of network origins, which origin lies within which, and which addresses are refused.
//!
//! | form | reaches |
//! |---|---|
//! | `SCHEME://HOST` | that host, on the scheme's port: 443 for `https`, 80 for `http` |
//! | `SCHEME://HOST:PORT` | that host, on that port |
//! | `SCHEME://*.SUFFIX[:PORT]` | every host with one or more labels before SUFFIX, never SUFFIX itself |
//! | `SCHEME://192.0.2.1[:PORT]`, `SCHEME://[2001:db8::1][:PORT]` | that address, and only where it is written like this |
//!
//! SCHEME is `http` or `https`. HOST is ASCII: labels of letters, digits and `-`, as they go over the wire (`xn--…` for a name
//! in another script). It is read in lower case and without one dot at its end. SUFFIX has at least two labels. A host
//! whose last label is a number is an IPv4 address in its four decimal parts or nothing: `2130706433`, `0177.0.0.1`, `127.1`
//! and `0x7f.1` are refused. There is no user, path, query or fragment.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Whether a header says how a message is carried, and so is the host's to write. Its name is in lower case.
#[must_use]
pub fn is_framing(name: &str) -> bool {
    matches!(name, "host" | "connection" | "upgrade" | "transfer-encoding" | "keep-alive" | "te" | "trailer" | "expect" | "http2-settings")
        || name.starts_with("proxy-")
}

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetScheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl NetScheme {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is written.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host of an origin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetHost {
    /// Exactly this name: lower case, no dot at its end.
    Name(String),
    /// Every name below this one.
    Below(String),
    /// Exactly this address.
    Address(IpAddr),
}

impl fmt::Display for NetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*.{suffix}"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetOrigin {
    /// The scheme.
    pub scheme: NetScheme,
    /// The host, or all below one.
    pub host: NetHost,
    /// The port.
    pub port: u16,
}

/// Why a text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Neither `http` nor `https`.
    #[error("it starts with http:// or https://")]
    Scheme,
    /// Not a port.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// More than an origin.
    #[error("it has no user, path, query or fragment")]
    More,
    /// Not a name.
    #[error("a host is labels of ASCII letters, digits and `-` with dots between them; a name in another script is written as xn--…")]
    Host,
    /// A number that is no address as it is usually written.
    #[error("an IPv4 address is four decimal numbers without leading zeros, like 192.0.2.1")]
    V4,
    /// No IPv6 address, or an IPv4 address in disguise.
    #[error("an IPv6 address stands in brackets, has no zone, and holds no IPv4 address, which is written as such")]
    V6,
    /// A `*` that is not one label at the start of a name of two labels.
    #[error("`*` stands once, at the start, before at least two labels: *.example.com")]
    Wildcard,
}

impl NetOrigin {
    /// Whether nobody on the way reads what goes there: over TLS, or within this machine.
    #[must_use]
    pub fn keeps_secrets(&self) -> bool {
        let here = match &self.host {
            NetHost::Name(name) => name == "localhost",
            NetHost::Address(address) => address.is_loopback(),
            NetHost::Below(_) => false,
        };
        self.scheme == NetScheme::Https || here
    }
}

impl FromStr for NetOrigin {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let (scheme, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (NetScheme::Https, rest),
            (_, Some(rest)) => (NetScheme::Http, rest),
            _ => return Err(NetError::Scheme),
        };
        if rest.contains(['/', '?', '#', '@', '\\']) {
            return Err(NetError::More);
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (address, port) = bracketed.split_once(']').ok_or(NetError::V6)?;
                let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(NetError::V6)?) };
                (NetHost::Address(v6(address)?), port)
            }
            None => {
                let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
                (host.parse()?, port)
            }
        };
        Ok(Self { scheme, host, port: port.map_or(Ok(scheme.port()), number)? })
    }
}

impl fmt::Display for NetOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

impl NetOrigin {
    /// Host and port, without the port of the scheme.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Whether `other` is this origin or lies within it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let host = match (&self.host, &other.host) {
            (NetHost::Below(suffix), NetHost::Name(name)) => is_below(name, suffix),
            (NetHost::Below(suffix), NetHost::Below(other)) => suffix == other || is_below(other, suffix),
            (mine, other) => mine == other,
        };
        host && self.scheme == other.scheme && self.port == other.port
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
}

/// The number parser would take a sign, too.
fn number(port: &str) -> Result<u16, NetError> {
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    port.parse().ok().filter(|port| digits && *port > 0).ok_or(NetError::Port)
}

fn v6(text: &str) -> Result<IpAddr, NetError> {
    let address: Ipv6Addr = text.parse().map_err(|_| NetError::V6)?;
    let disguised = address.to_ipv4().is_some() && !matches!(address, Ipv6Addr::LOCALHOST | Ipv6Addr::UNSPECIFIED);
    if disguised { Err(NetError::V6) } else { Ok(address.into()) }
}

impl FromStr for NetHost {
    type Err = NetError;

    /// A name, a name with `*.`, or an IPv4 address.
    fn from_str(text: &str) -> Result<Self, NetError> {
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let (name, wild) = lower.strip_prefix("*.").map_or((lower.as_str(), false), |name| (name, true));
        if name.contains('*') {
            return Err(NetError::Wildcard);
        }
        let label = |label: &str| {
            let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(NetError::Host);
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if hex || last.bytes().all(|b| b.is_ascii_digit()) {
            let address: Ipv4Addr = name.parse().map_err(|_| NetError::V4)?;
            return if wild { Err(NetError::Wildcard) } else { Ok(Self::Address(address.into())) };
        }
        match wild {
            true if !name.contains('.') => Err(NetError::Wildcard),
            true => Ok(Self::Below(name.to_owned())),
            false => Ok(Self::Name(name.to_owned())),
        }
    }
}

/// IPv4 addresses that are not a host of the public internet.
const V4: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this host"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by a carrier"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local, where clouds keep credentials"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "for protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a relay to IPv6"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    // Its last address is broadcast.
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

const fn v6_net(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

/// IPv6 addresses that are not a host of the public internet, and those that hold an IPv4 address.
const V6: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "this host"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4 within IPv6"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "IPv4 within IPv6"),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, "IPv4 within IPv6"),
    (v6_net(0x64, 0xff9b, 0), 96, "IPv4 within IPv6"),
    (v6_net(0x64, 0xff9b, 1), 48, "IPv4 within IPv6"),
    (v6_net(0x100, 0, 0), 64, "discarded"),
    // Teredo is its first part.
    (v6_net(0x2001, 0, 0), 23, "for protocols, or IPv4 within IPv6"),
    (v6_net(0x2001, 0xdb8, 0), 32, "for documentation"),
    (v6_net(0x2002, 0, 0), 16, "IPv4 within IPv6"),
    (v6_net(0x3fff, 0, 0), 20, "for documentation"),
    (v6_net(0x5f00, 0, 0), 16, "for segment routing"),
    (v6_net(0xfc00, 0, 0), 7, "private"),
    (v6_net(0xfe80, 0, 0), 10, "link-local"),
    (v6_net(0xfec0, 0, 0), 10, "site-local"),
    (v6_net(0xff00, 0, 0), 8, "multicast"),
];

/// Why no name may lead to this address; `None` where one may.
#[must_use]
pub fn address_refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => {
            let within = |(net, length, _): &&(Ipv4Addr, u32, _)| (v4.to_bits() ^ net.to_bits()) >> (32 - length) == 0;
            V4.iter().find(within).map(|(.., why)| *why)
        }
        IpAddr::V6(v6) => {
            let within = |(net, length, _): &&(Ipv6Addr, u32, _)| (v6.to_bits() ^ net.to_bits()) >> (128 - length) == 0;
            V6.iter().find(within).map(|(.., why)| *why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin(text: &str) -> NetOrigin {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn the_forms_of_the_table_are_read_and_one_host_has_one_spelling() {
        for (text, printed) in [
            ("https://Example.COM", "https://example.com"),
            ("https://example.com.", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("https://*.example.com:8443", "https://*.example.com:8443"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://192.0.2.1:1", "http://192.0.2.1:1"),
            ("http://[2001:DB8:0::1]", "http://[2001:db8::1]"),
            ("http://[::1]:65535", "http://[::1]:65535"),
            ("https://1.2.3.4.example", "https://1.2.3.4.example"),
        ] {
            assert_eq!(origin(text).to_string(), printed);
        }
    }

    #[test]
    fn other_spellings_of_addresses_and_more_than_an_origin_are_refused() {
        for (text, why) in [
            ("ftp://a", NetError::Scheme),
            ("a", NetError::Scheme),
            ("file:///etc/passwd", NetError::Scheme),
            ("https://a/", NetError::More),
            ("https://a?q", NetError::More),
            ("https://a#f", NetError::More),
            ("https://u@a", NetError::More),
            ("https://u:p@a", NetError::More),
            ("https://a\\b", NetError::More),
            ("https://a:", NetError::Port),
            ("https://a:0", NetError::Port),
            ("https://a:+80", NetError::Port),
            ("https://a:65536", NetError::Port),
            ("https://a:80:80", NetError::Port),
            ("https://", NetError::Host),
            ("https://.", NetError::Host),
            ("https://a..b", NetError::Host),
            ("https://a..", NetError::Host),
            ("https://-a", NetError::Host),
            ("https://a_b", NetError::Host),
            ("https://a%2eb", NetError::Host),
            ("https://bücher.example", NetError::Host),
            ("https://a\u{3002}b", NetError::Host),
            ("https://a b", NetError::Host),
            ("http://2130706433", NetError::V4),
            ("http://0177.0.0.1", NetError::V4),
            ("http://127.1", NetError::V4),
            ("http://127.0.0.1.1", NetError::V4),
            ("http://0x7f000001", NetError::V4),
            ("http://0x7f.1", NetError::V4),
            ("http://127.0.0.0x1", NetError::V4),
            ("http://127.0.0.0x", NetError::V4),
            ("http://256.0.0.1", NetError::V4),
            ("http://::1", NetError::Port),
            ("http://[::ffff:127.0.0.1]", NetError::V6),
            ("http://[::127.0.0.1]", NetError::V6),
            ("http://[fe80::1%25eth0]", NetError::V6),
            ("http://[::1", NetError::V6),
            ("http://[::1]80", NetError::V6),
            ("https://*", NetError::Wildcard),
            ("https://*.com", NetError::Wildcard),
            ("https://a.*.com", NetError::Wildcard),
            ("https://*a.example.com", NetError::Wildcard),
            ("https://*.1.2.3.4", NetError::Wildcard),
        ] {
            let refused = text.parse::<NetOrigin>();
            // An empty host before a colon is a host that is none.
            let also = text == "http://::1" && refused == Err(NetError::Host);
            assert!(refused == Err(why) || also, "{text}: {refused:?}");
        }
    }

    #[test]
    fn an_origin_covers_itself_and_what_lies_within_and_nothing_beside() {
        let all = origin("https://*.example.com");
        for within in ["https://a.example.com", "https://a.b.example.com", "https://*.example.com", "https://*.b.example.com"] {
            assert!(all.covers(&origin(within)), "{within}");
        }
        for beside in [
            "https://example.com",
            "https://badexample.com",
            "https://a.example.com.evil.org",
            "http://a.example.com",
            "https://a.example.com:8443",
        ] {
            assert!(!all.covers(&origin(beside)), "{beside}");
        }
        assert!(!origin("https://a.example.com").covers(&all));
        assert!(!origin("http://localhost").covers(&origin("http://127.0.0.1")));
    }

    #[test]
    fn no_address_of_a_private_place_is_let_through_in_any_disguise() {
        for (text, why) in [
            ("0.0.0.0", "this host"),
            ("0.1.2.3", "this host"),
            ("10.255.0.1", "private"),
            ("100.64.0.1", "carrier"),
            ("100.127.255.255", "carrier"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.170", "protocols"),
            ("192.0.2.9", "documentation"),
            ("192.168.1.1", "private"),
            ("198.18.0.1", "benchmarks"),
            ("198.19.255.255", "benchmarks"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "this host"),
            ("::1", "loopback"),
            ("::7f00:1", "IPv4"),
            ("::ffff:8.8.8.8", "IPv4"),
            ("::ffff:127.0.0.1", "IPv4"),
            ("::ffff:0:127.0.0.1", "IPv4"),
            ("64:ff9b::7f00:1", "IPv4"),
            ("64:ff9b:1::1", "IPv4"),
            ("100::1", "discarded"),
            ("2001::1", "IPv4"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "IPv4"),
            ("3fff::1", "documentation"),
            ("fc00::1", "private"),
            ("fd12::1", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ] {
            let got = address_refusal(text.parse().unwrap());
            assert!(got.is_some_and(|got| got.contains(why)), "{text}: {got:?}");
        }
        for public in ["1.1.1.1", "8.8.8.8", "11.0.0.1", "100.128.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.255"] {
            assert_eq!(address_refusal(public.parse().unwrap()), None, "{public}");
        }
        for public in ["2606:4700::1111", "2001:4860:4860::8888", "2a00::1", "2003::1", "2001:200::1"] {
            assert_eq!(address_refusal(public.parse().unwrap()), None, "{public}");
        }
    }

    proptest! {
        #[test]
        fn parsing_then_printing_an_origin_gives_the_same_origin(
            text in "https?://(\\*\\.)?[a-zA-Z0-9.-]{1,24}(:[0-9]{1,5})?|https?://\\[[0-9a-f:]{2,12}\\](:[0-9]{1,5})?"
        ) {
            if let Ok(origin) = text.parse::<NetOrigin>() {
                let printed = origin.to_string();
                prop_assert_eq!(printed.parse::<NetOrigin>().unwrap(), origin.clone());
                prop_assert!(origin.covers(&origin));
            }
        }

        #[test]
        fn any_text_is_an_origin_or_refused(text in ".{0,40}") {
            let _ = text.parse::<NetOrigin>();
            let _ = format!("https://{text}").parse::<NetOrigin>();
        }

        #[test]
        fn a_wildcard_covers_exactly_what_ends_with_its_suffix_after_a_dot(front in "[a-b.]{0,4}", suffix in "[ab]\\.[ab]") {
            let host = format!("https://{front}{suffix}");
            if let Ok(other) = host.parse::<NetOrigin>() {
                let wild: NetOrigin = format!("https://*.{suffix}").parse().unwrap();
                prop_assert_eq!(wild.covers(&other), front.len() > 1 && front.ends_with('.'));
            }
        }

        #[test]
        fn no_ipv4_address_gets_through_within_ipv6(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            prop_assert!(address_refusal(v4.to_ipv6_mapped().into()).is_some());
            prop_assert!(address_refusal(v4.to_ipv6_compatible().into()).is_some());
        }
    }
}
