//! Tool ids, deny lists, capabilities and grants.
//!
//! The input is lines. `=` starts a deny name, `^` a deny prefix; every other line is read by every grammar. All ids among
//! them are decided, before and after each deny entry.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_policy::{
    Candidate, Capability, DenyList, FolderPath, Grant, GrantError, Identity, Origin, Policy, Profile, SourceName, Subsystem, ToolId,
    mcp_name, shell_like,
};

fuzz_target!(|text: &str| {
    let (mut ids, mut names, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.split('\n').take(64) {
        match (line.strip_prefix('='), line.strip_prefix('^')) {
            (Some(name), _) => names.push(name),
            (_, Some(prefix)) => prefixes.push(prefix),
            _ => {
                grammars(line);
                ids.extend(ToolId::parse(line).or_else(|_| ToolId::parse_mcp(line)));
            }
        }
    }
    deny(&ids, &names, &prefixes);
});

/// Whatever a grammar accepts, it prints so that it reads it as the same again.
fn grammars(line: &str) {
    if let Ok(source) = SourceName::parse(line) {
        assert_eq!(source.to_string(), line);
    }
    for parse in [ToolId::parse, ToolId::parse_mcp] {
        let Ok(id) = parse(line) else { continue };
        assert_eq!(id.to_string(), line);
        assert_eq!(format!("{}/{}", id.source(), id.tool()), line);
        let listed = mcp_name(id.source(), id.tool());
        assert!((1..=64).contains(&listed.len()) && listed.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')));
    }
    if ToolId::parse(line).is_ok() {
        assert_eq!(ToolId::parse(line), ToolId::parse_mcp(line));
    }
    if let Some(identity) = Identity::parse(line) {
        assert_eq!(identity.to_string(), line);
    }
    if let Ok(capability) = line.parse::<Capability>() {
        within(&capability);
        assert_eq!(capability.to_string().parse(), Ok(capability));
    }
    for (parse, stored) in [(Grant::parse_short as fn(&str, Origin) -> _, false), (Grant::parse_stored, true)] {
        let Ok(grant): Result<Grant, GrantError> = parse(line, Origin::Code) else { continue };
        within(&grant.capability);
        assert_eq!(grant.identity.is_some(), stored);
        assert_eq!(parse(&grant.to_string(), Origin::Code), Ok(grant));
    }
    // A split at case changes only ever finds more.
    if shell_like(&line.to_ascii_lowercase()).is_some() {
        assert!(shell_like(line).is_some());
    }
}

/// What no capability may hold.
fn within(capability: &Capability) {
    match capability {
        Capability::Fs(_, FolderPath::Workspace(path) | FolderPath::Absolute(path)) => {
            assert!(!path.contains('\0') && !path.split('/').any(|part| matches!(part, "." | "..")));
            assert!(path.is_empty() || path == "/" || !path.ends_with('/'));
        }
        Capability::Net(origin) => {
            let printed = origin.to_string();
            assert_eq!(printed.parse(), Ok(origin.clone()));
            let rest = printed.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'*' | b'[' | b']');
            assert!(!rest.is_empty() && rest.bytes().all(allowed), "{printed}");
        }
        Capability::Env(name) => assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')),
        Capability::Auth(name, origin) => {
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && origin.keeps_secrets());
        }
        Capability::Store => {}
    }
}

/// Adding a deny never allows what was denied, and letter case never matters.
fn deny(ids: &[ToolId], names: &[&str], prefixes: &[&str]) {
    let mut list = DenyList::default();
    let mut before = denied(&list, ids);
    // The same entries, in other letter case.
    let mut recased = [DenyList::default(), DenyList::default(), DenyList::default()];
    for (entry, name) in names.iter().map(|name| (*name, true)).chain(prefixes.iter().map(|prefix| (*prefix, false))) {
        let added = add(&mut list, entry, name);
        assert_eq!(added, !entry.trim().is_empty());
        let mixed: String = entry.chars().enumerate().map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect();
        for (list, entry) in recased.iter_mut().zip([&entry.to_ascii_uppercase(), &entry.to_ascii_lowercase(), &mixed]) {
            assert_eq!(add(list, entry, name), added);
        }
        let after = denied(&list, ids);
        assert!(before.iter().zip(&after).all(|(before, after)| *after || !before), "an added entry allows: {entry:?}");
        before = after;
    }
    for list in &recased {
        assert_eq!(denied(list, ids), before, "letter case of an entry matters");
    }
    for (id, denied) in ids.iter().zip(before) {
        // An MCP name that was cut ends in a digest, which knows letter case; all other spellings do not.
        if denied && mcp_name(id.source(), id.tool()) == format!("{}__{}", id.source(), id.tool()) {
            let (source, tool) = (id.source().to_ascii_uppercase(), id.tool().to_ascii_uppercase());
            assert!(list.matching_id(&source, &tool).is_some() || shell_like(id.as_str()).is_some(), "letter case of {id} matters");
        }
    }
    let mut united = DenyList::default();
    united.unite(list.clone());
    united.unite(list.clone());
    assert_eq!(united.len(), list.len());
    let unmatched = list.unmatched(ids.iter().map(|id| (id.source(), id.tool())));
    assert!(unmatched.len() <= list.len());
}

fn add(list: &mut DenyList, entry: &str, name: bool) -> bool {
    if name { list.add_name(entry, Origin::Code).is_ok() } else { list.add_prefix(entry, Origin::Code).is_ok() }
}

/// Which ids the gate denies; all of the deny list are among them.
fn denied(list: &DenyList, ids: &[ToolId]) -> Vec<bool> {
    let policy = Policy::for_profile(&Profile::trusted(Origin::Code), list.clone());
    let one = |id: &ToolId| {
        let denied = policy.admit(&Candidate::new(id.clone(), Subsystem::PluginInit)).is_err();
        assert!(denied || (list.matching_id(id.source(), id.tool()).is_none() && shell_like(id.as_str()).is_none()));
        denied
    };
    ids.iter().map(one).collect()
}
