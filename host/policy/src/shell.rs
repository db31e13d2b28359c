//! The shell gate: which ids look like a shell.
//!
//! It is the visible half of a promise. The strong half is that no component can start a process at all.

/// Parts that make an id shell-like. `bash` needs no part: it counts anywhere in the id.
const PARTS: [&str; 10] = ["sh", "zsh", "ksh", "fish", "dash", "pwsh", "powershell", "cmd", "shell", "exec"];

/// The part of `id` that makes it shell-like, if any: `bash` anywhere, or a part (split at `/ - _ .` and case changes)
/// that is the name of a shell. Letter case never matters to the comparison.
///
/// ```
/// use palisade_policy::shell_like;
/// assert_eq!(shell_like("tools/run-bashful"), Some("bash"));
/// assert_eq!(shell_like("tools/runShell"), Some("shell"));
/// assert_eq!(shell_like("tools/shellfish"), None);
/// ```
#[must_use]
pub fn shell_like(id: &str) -> Option<&'static str> {
    if id.to_ascii_lowercase().contains("bash") {
        return Some("bash");
    }
    let mut part = String::new();
    let mut chars = id.chars().peekable();
    let mut before = None::<char>;
    while let Some(c) = chars.next() {
        let separator = matches!(c, '/' | '-' | '_' | '.');
        // `runShell` splits before the S; `HTTPShell` splits before the last capital of the run.
        let lower_to_upper = before.is_some_and(|b| !b.is_uppercase()) && c.is_uppercase();
        let end_of_run = before.is_some_and(char::is_uppercase) && c.is_uppercase() && chars.peek().is_some_and(|n| n.is_lowercase());
        if separator || lower_to_upper || end_of_run {
            if let Some(found) = named(&part) {
                return Some(found);
            }
            part.clear();
        }
        if !separator {
            part.push(c.to_ascii_lowercase());
        }
        before = (!separator).then_some(c);
    }
    // A whole segment in odd capitals (`pWsH`) would be torn apart by the split above, so segments count too.
    named(&part).or_else(|| id.split(['/', '-', '_', '.']).find_map(|s| named(&s.to_ascii_lowercase())))
}

fn named(part: &str) -> Option<&'static str> {
    PARTS.into_iter().find(|p| *p == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shells_are_found_in_every_dress() {
        for id in [
            "shell/run",
            "a/bash",
            "a/rebashed",
            "a/run-sh",
            "a/sh.run",
            "a/PowerShell",
            "a/runCmd",
            "a/EXECNow",
            "a/x_pwsh",
            "a/ZSH",
            "a/pWsH",
        ] {
            assert!(shell_like(id).is_some(), "{id}");
        }
        for id in ["text-stats/count", "a/dashboard", "a/shelling", "a/fisher", "a/execute", "a/wash"] {
            assert!(shell_like(id).is_none(), "{id}");
        }
    }

    proptest! {
        #[test]
        fn letter_case_never_hides_a_shell(upper in proptest::collection::vec(any::<bool>(), 10), which in 0..PARTS.len()) {
            let odd: String = PARTS[which].chars().zip(upper).map(|(c, u)| if u { c.to_ascii_uppercase() } else { c }).collect();
            let plain = ["tools/", &odd].concat();
            let between = ["tools/x-", &odd, ".y"].concat();
            prop_assert!(shell_like(&plain).is_some() && shell_like(&between).is_some());
        }
    }
}
