//! As much of a URL as a request and a redirect need. What is granted is decided by the host, not here.

use std::fmt;

/// An http or https URL without user and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether over TLS.
    pub tls: bool,
    /// Host and port.
    pub authority: String,
    /// Path and query, from the first slash.
    pub path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}{}", if self.tls { "s" } else { "" }, self.authority, self.path)
    }
}

impl Url {
    /// Parses a whole URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("it is not a URL that starts with http:// or https://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("only http and https URLs are fetched"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || authority.contains(['@', '\\']) {
            return Err("it has no host, or a user before it");
        }
        if text.contains(|c: char| c.is_ascii_control() || c == ' ') {
            return Err("it holds a space or a control character");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { tls, authority: authority.to_owned(), path })
    }

    /// The URL that a `Location` here means.
    pub fn join(&self, location: &str) -> Result<Self, &'static str> {
        let scheme = if self.tls { "https" } else { "http" };
        let own = format!("{scheme}://{}", self.authority);
        let path = self.path.split('?').next().unwrap_or_default();
        match location {
            l if l.starts_with("//") => Self::parse(&format!("{scheme}:{l}")),
            l if l.starts_with('/') => Self::parse(&format!("{own}{l}")),
            l if l.starts_with('?') => Self::parse(&format!("{own}{path}{l}")),
            l if l.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) => Self::parse(l),
            l => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                Self::parse(&format!("{own}{folder}/{l}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_from_where_it_stands() {
        let here = Url::parse("https://a.example:8443/x/y?q#f").unwrap();
        assert_eq!(here.to_string(), "https://a.example:8443/x/y?q");
        for (location, there) in [
            ("/z", "https://a.example:8443/z"),
            ("z?r", "https://a.example:8443/x/z?r"),
            ("?r", "https://a.example:8443/x/y?r"),
            ("//b/z", "https://b/z"),
            ("HTTP://b", "http://b/"),
        ] {
            assert_eq!(here.join(location).unwrap().to_string(), there);
        }
        for bad in ["file:///etc/passwd", "javascript:alert(1)", "https://u@b/", "https:///x", "/a b"] {
            assert!(here.join(bad).is_err(), "{bad}");
        }
    }
}
