//! Requests, grants, and what is in both.
//!
//! | form | where | meaning |
//! |---|---|---|
//! | `SOURCE:CAPABILITY` | a flag | for a source that a flag of the same command line supplied |
//! | `NAME@sha256:IDENTITY:CAPABILITY` | the user's config | for exactly that manifest and component |
//!
//! Effective = requested ∩ granted. A requested folder covers a grant at or below it, a requested origin one that is equal or
//! within it; a read grant never satisfies a write request. Paths are compared part by part, after the host resolved them; a path it could not resolve is granted to
//! nobody.

use crate::{Access, Capability, CapabilityError, FolderPath, IdError, NetOrigin, Origin, SourceName};
use std::fmt;
use std::path::{Path, PathBuf};

/// The SHA-256 over a plugin's manifest and component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub [u8; 32]);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl Identity {
    /// Parses 64 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 64 || !bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut out = [0; 32];
        for (i, slot) in out.iter_mut().enumerate() {
            *slot = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Self(out))
    }
}

/// Why a text is not a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not `SOURCE:CAPABILITY`.
    #[error("a grant is SOURCE:CAPABILITY, for instance search:fs:read:@workspace")]
    Short,
    /// Not `NAME@sha256:IDENTITY:CAPABILITY`.
    #[error("a stored grant is NAME@sha256:IDENTITY:CAPABILITY, with 64 hex digits of identity")]
    Stored,
    /// The source is outside the grammar.
    #[error(transparent)]
    Source(#[from] IdError),
    /// The capability is outside the grammar.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
}

/// What a person allowed one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whom.
    pub source: SourceName,
    /// Exactly which bytes; `None` only in the short form.
    pub identity: Option<Identity>,
    /// What.
    pub capability: Capability,
    /// Where it was written.
    pub origin: Origin,
    /// The folder of an fs capability, resolved by the host.
    pub resolved: Option<PathBuf>,
}

impl Grant {
    /// Parses the short form.
    ///
    /// # Errors
    /// Says which part is outside the grammar.
    pub fn parse_short(text: &str, origin: Origin) -> Result<Self, GrantError> {
        let (source, capability) = text.split_once(':').ok_or(GrantError::Short)?;
        Ok(Self { source: SourceName::parse(source)?, identity: None, capability: capability.parse()?, origin, resolved: None })
    }

    /// Parses the stored form.
    ///
    /// # Errors
    /// Says which part is outside the grammar.
    pub fn parse_stored(text: &str, origin: Origin) -> Result<Self, GrantError> {
        let (source, rest) = text.split_once("@sha256:").ok_or(GrantError::Stored)?;
        let (identity, capability) = rest.split_once(':').ok_or(GrantError::Stored)?;
        let identity = Some(Identity::parse(identity).ok_or(GrantError::Stored)?);
        Ok(Self { source: SourceName::parse(source)?, identity, capability: capability.parse()?, origin, resolved: None })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            Some(identity) => write!(f, "{}@sha256:{identity}:{}", self.source, self.capability),
            None => write!(f, "{}:{}", self.source, self.capability),
        }
    }
}

/// What a manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What.
    pub capability: Capability,
    /// The author's reason; text from outside.
    pub why: String,
    /// Whether the source works without it.
    pub optional: bool,
    /// Where a folder appears in the guest.
    pub mount: Option<String>,
    /// The header that carries a secret as it is; `None` for `authorization: Bearer`.
    pub header: Option<String>,
    /// The folder of an fs capability, resolved by the host.
    pub resolved: Option<PathBuf>,
}

/// A secret the host adds to requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthGrant {
    /// Its name.
    pub name: String,
    /// The requests it is added to, as they were granted.
    pub origin: NetOrigin,
    /// The header that carries it as it is; `None` for `authorization: Bearer`.
    pub header: Option<String>,
}

/// A folder a component gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderGrant {
    /// On the host, resolved.
    pub host: PathBuf,
    /// In the guest.
    pub guest: String,
    /// To read, or to read and write.
    pub access: Access,
}

/// Requested ∩ granted, for one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effective {
    /// The folders.
    pub folders: Vec<FolderGrant>,
    /// The variables, by name.
    pub variables: Vec<String>,
    /// The origins, as they were granted.
    pub origins: Vec<NetOrigin>,
    /// The secrets that the host adds to its requests.
    pub secrets: Vec<AuthGrant>,
    /// Whether it may keep a key-value store.
    pub store: bool,
    /// Needed and not granted.
    pub missing: Vec<Capability>,
    /// Optional and not granted.
    pub absent: Vec<Capability>,
    /// Indices of the grants that were used.
    pub used: Vec<usize>,
}

/// What a source gets: the intersection of its requests with the grants that name it.
#[must_use]
pub fn effective(requests: &[Request], grants: &[Grant]) -> Effective {
    let mut out = Effective::default();
    for request in requests {
        let mut satisfied = false;
        for (index, grant) in grants.iter().enumerate() {
            let used = match (&request.capability, &grant.capability) {
                (Capability::Fs(wanted, path), Capability::Fs(given, _)) => {
                    let Some(folder) = folder(request, path, *wanted, grant, *given) else { continue };
                    satisfied |= given >= wanted;
                    // A guest finds one folder in one place, and what two grants give of it together.
                    match out.folders.iter_mut().find(|known| known.host == folder.host && known.guest == folder.guest) {
                        Some(known) => known.access = known.access.max(folder.access),
                        None => out.folders.push(folder),
                    }
                    true
                }
                (Capability::Env(wanted), Capability::Env(given)) if wanted == given => {
                    satisfied = true;
                    if !out.variables.contains(wanted) {
                        out.variables.push(wanted.clone());
                    }
                    true
                }
                (Capability::Net(wanted), Capability::Net(given)) if wanted.covers(given) => {
                    satisfied = true;
                    if !out.origins.contains(given) {
                        out.origins.push(given.clone());
                    }
                    true
                }
                (Capability::Auth(wanted, to), Capability::Auth(given, origin)) if wanted == given && to.covers(origin) => {
                    satisfied = true;
                    let secret = AuthGrant { name: given.clone(), origin: origin.clone(), header: request.header.clone() };
                    if !out.secrets.contains(&secret) {
                        out.secrets.push(secret);
                    }
                    true
                }
                (Capability::Store, Capability::Store) => {
                    satisfied = true;
                    out.store = true;
                    true
                }
                _ => false,
            };
            if used && !out.used.contains(&index) {
                out.used.push(index);
            }
        }
        if !satisfied {
            let list = if request.optional { &mut out.absent } else { &mut out.missing };
            list.push(request.capability.clone());
        }
    }
    out
}

fn folder(request: &Request, written: &FolderPath, wanted: Access, grant: &Grant, given: Access) -> Option<FolderGrant> {
    let (base, host) = (request.resolved.as_deref()?, grant.resolved.as_deref()?);
    if !covers(base, host) {
        return None;
    }
    let mount = match (&request.mount, written) {
        (Some(mount), _) => mount.clone(),
        (None, FolderPath::Workspace(rest)) if rest.is_empty() => "/workspace".to_owned(),
        (None, FolderPath::Workspace(rest)) => format!("/workspace/{rest}"),
        // The manifest parser demands a mount here.
        (None, FolderPath::Absolute(_)) => return None,
    };
    let below = host.strip_prefix(base).ok()?.to_str()?;
    let guest = if below.is_empty() { mount } else { format!("{}/{below}", mount.trim_end_matches('/')) };
    Some(FolderGrant { host: host.to_owned(), guest, access: wanted.min(given) })
}

/// Whether `inner` is `outer` or lies below it, part by part.
#[must_use]
pub fn covers(outer: &Path, inner: &Path) -> bool {
    inner.starts_with(outer)
}

/// Why a folder may not be granted for writing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{relation} {what}")]
pub struct WriteRefusal {
    relation: &'static str,
    what: String,
}

/// Whether a write grant on `folder` would let a component change what decides about it.
///
/// `roots` (the workspace, home) may not be or lie inside the folder; `protected` (source folders, the binary's
/// folder, files that config or trust reads) may not be, contain or lie inside it. Any part named `.git` refuses.
///
/// # Errors
/// Says what the folder touches.
pub fn write_refusal(folder: &Path, roots: &[(&str, PathBuf)], protected: &[(String, PathBuf)]) -> Result<(), WriteRefusal> {
    if folder == Path::new("/") {
        return Err(WriteRefusal { relation: "it is", what: "the root of the file system".to_owned() });
    }
    if folder.components().any(|c| c.as_os_str() == ".git") {
        return Err(WriteRefusal { relation: "it is or lies inside", what: "a `.git` folder".to_owned() });
    }
    for (what, root) in roots {
        if covers(folder, root) {
            return Err(WriteRefusal { relation: "it is or contains", what: (*what).to_owned() });
        }
        if covers(folder, &root.join(".git")) {
            return Err(WriteRefusal { relation: "it contains", what: "a `.git` folder".to_owned() });
        }
    }
    for (what, path) in protected {
        if covers(folder, path) || covers(path, folder) {
            return Err(WriteRefusal { relation: "it is, contains or lies inside", what: what.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(capability: &str, at: &str, optional: bool) -> Request {
        Request {
            capability: capability.parse().unwrap(),
            why: String::new(),
            optional,
            mount: None,
            header: None,
            resolved: Some(at.into()),
        }
    }

    fn grant(capability: &str, at: &str) -> Grant {
        let mut grant = Grant::parse_short(&format!("a:{capability}"), Origin::Code).unwrap();
        grant.resolved = Some(at.into());
        grant
    }

    #[test]
    fn a_grant_below_the_request_keeps_its_place_in_the_guest() {
        let got = effective(&[request("fs:read:@workspace", "/w", false)], &[grant("fs:write:@workspace/docs", "/w/docs")]);
        assert_eq!(got.folders, [FolderGrant { host: "/w/docs".into(), guest: "/workspace/docs".into(), access: Access::Read }]);
        assert!(got.missing.is_empty());
    }

    #[test]
    fn a_grant_above_or_beside_the_request_gives_nothing() {
        for outside in ["/", "/x", "/ww"] {
            let got = effective(&[request("fs:read:@workspace", "/w", false)], &[grant("fs:read:/x", outside)]);
            assert_eq!((got.folders.len(), got.missing.len()), (0, 1), "{outside}");
        }
    }

    #[test]
    fn a_read_grant_does_not_satisfy_a_write_request() {
        let got = effective(&[request("fs:write:@workspace", "/w", false)], &[grant("fs:read:@workspace", "/w")]);
        assert_eq!(got.folders[0].access, Access::Read);
        assert_eq!(got.missing.len(), 1);
    }

    #[test]
    fn a_folder_that_is_asked_for_twice_is_in_its_place_once_with_all_that_was_granted() {
        let (read, write) = (request("fs:read:@workspace", "/w", false), request("fs:write:@workspace/out", "/w/out", false));
        let grants = [grant("fs:read:@workspace", "/w"), grant("fs:write:@workspace/out", "/w/out")];
        for requests in [[read.clone(), write.clone()], [write, read.clone()]] {
            let mut got = effective(&requests, &grants).folders;
            got.sort_by(|a, b| a.guest.cmp(&b.guest));
            let folder = |host: &str, guest: &str, access| FolderGrant { host: host.into(), guest: guest.into(), access };
            assert_eq!(got, [folder("/w", "/workspace", Access::Read), folder("/w/out", "/workspace/out", Access::Write)]);
        }
        // What was not asked to be written is not written.
        assert!(effective(&[read], &grants).folders.iter().all(|folder| folder.access == Access::Read));
    }

    #[test]
    fn what_was_not_asked_for_is_not_given() {
        let got = effective(&[], &[grant("fs:read:@workspace", "/w")]);
        assert_eq!(got, Effective::default());
    }

    #[test]
    fn an_optional_request_is_absent_and_not_missing() {
        let got = effective(&[request("fs:read:@workspace", "/w", true)], &[]);
        assert_eq!((got.missing.len(), got.absent.len()), (0, 1));
    }

    #[test]
    fn an_origin_is_granted_at_or_within_the_request_and_never_above_it() {
        let net = |asked: &str, granted: &str| {
            let got = effective(&[request(asked, "/", false)], &[grant(granted, "/")]);
            assert_eq!(got.origins.is_empty(), !got.missing.is_empty(), "{asked} {granted}");
            got.origins.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(net("net:https://*.example.com", "net:https://api.example.com"), ["https://api.example.com"]);
        assert_eq!(net("net:https://example.com", "net:https://EXAMPLE.com:443"), ["https://example.com"]);
        for (asked, granted) in [
            ("net:https://api.example.com", "net:https://*.example.com"),
            ("net:https://example.com", "net:http://example.com"),
            ("net:https://example.com", "net:https://example.com:8443"),
        ] {
            assert!(net(asked, granted).is_empty(), "{asked} {granted}");
        }
    }

    #[test]
    fn a_secret_goes_to_origins_at_or_within_the_request_under_its_own_name() {
        let secrets = |asked: &str, granted: &str| {
            let mut request = request(asked, "/", false);
            request.header = Some("x-key".to_owned());
            let got = effective(&[request], &[grant(granted, "/")]);
            assert_eq!(got.secrets.is_empty(), !got.missing.is_empty(), "{asked} {granted}");
            assert!(got.origins.is_empty() && got.variables.is_empty());
            got.secrets.iter().map(|s| format!("{}@{} {:?}", s.name, s.origin, s.header)).collect::<Vec<_>>()
        };
        assert_eq!(secrets("auth:A@https://*.b.example", "auth:A@https://c.b.example"), ["A@https://c.b.example Some(\"x-key\")"]);
        for granted in
            ["auth:B@https://b.example", "auth:A@https://c.example", "auth:A@https://*.b.example", "net:https://b.example", "env:A"]
        {
            assert!(secrets("auth:A@https://b.example", granted).is_empty(), "{granted}");
        }
    }

    #[test]
    fn write_grants_stay_away_from_what_decides() {
        let roots = [("the workspace", PathBuf::from("/home/u/w")), ("home", PathBuf::from("/home/u"))];
        let protected = [("a plugin folder".to_owned(), PathBuf::from("/home/u/w/plugins/a"))];
        for bad in [
            "/",
            "/home",
            "/home/u",
            "/home/u/w",
            "/home/u/w/.git",
            "/home/u/w/x/.git/hooks",
            "/home/u/w/plugins",
            "/home/u/w/plugins/a/src",
        ] {
            assert!(write_refusal(Path::new(bad), &roots, &protected).is_err(), "{bad}");
        }
        for good in ["/home/u/w/out", "/home/u/data", "/home/u/w/plugins-out"] {
            assert!(write_refusal(Path::new(good), &roots, &protected).is_ok(), "{good}");
        }
    }

    proptest! {
        #[test]
        fn parsing_then_printing_a_grant_gives_the_same_grant(name in "[a-z][a-z0-9]{0,8}", hex in "[0-9a-f]{64}", path in "(/[a-z]{1,5}){1,3}", stored in any::<bool>()) {
            let text = if stored { format!("{name}@sha256:{hex}:fs:read:{path}") } else { format!("{name}:fs:read:{path}") };
            let grant = if stored { Grant::parse_stored(&text, Origin::Code) } else { Grant::parse_short(&text, Origin::Code) }.unwrap();
            prop_assert_eq!(grant.to_string(), text);
        }

        #[test]
        fn the_intersection_never_reaches_outside_request_or_grant(
            asked in "(/[ab]){1,3}", granted in "(/[ab]){1,3}", write in any::<bool>()
        ) {
            let capability = if write { "fs:write:@workspace" } else { "fs:read:@workspace" };
            let got = effective(&[request(capability, &asked, false)], &[grant("fs:read:/x", &granted)]);
            for folder in got.folders {
                prop_assert!(covers(Path::new(&asked), &folder.host) && covers(Path::new(&granted), &folder.host));
                prop_assert_eq!(folder.access, Access::Read);
            }
        }
    }
}
