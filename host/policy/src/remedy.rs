//! What would allow a call, as one line.
//!
//! The rule it keeps: a remedy lifts everything that denies, not just the first rule that does; where one of them cannot
//! be lifted there is none. It is made of parsed values, each quoted for a shell.
//!
//! Where the rule ends: what nobody read yet may deny once it is read, and has a remedy of its own then.

use crate::gate::STATIC;
use crate::{Candidate, DenyMatch, Origin, Policy, Refusal, Rule};

/// Most changes that one line asks for.
const CHANGES: usize = 40;

/// A word of a remedy, quoted for a shell; what no shell can hold becomes the empty word.
#[must_use]
pub fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| "''".to_owned(), std::borrow::Cow::into_owned)
}

/// The refusal, with the remedy for all that denies the tool.
pub(crate) fn whole(policy: &Policy, tool: &Candidate, refusal: Refusal) -> Refusal {
    let mut changes: Vec<String> = Vec::new();
    for (rule, step) in STATIC {
        let Err(denied) = step(policy, tool) else { continue };
        let all: Option<Vec<String>> = match rule {
            // No line ends a skill's narrowing.
            Rule::DenyName if policy.narrowing.as_ref().is_some_and(|narrowing| narrowing.refusal(tool).is_some()) => None,
            Rule::DenyName => Some(policy.deny.all_names(&tool.forms).map(lift).collect()),
            Rule::DenyPrefix => Some(policy.deny.all_prefixes(&tool.forms).map(lift).collect()),
            _ => denied.remedy.map(|one| vec![one]),
        };
        let Some(all) = all else { return Refusal { remedy: None, ..refusal } };
        for change in all {
            if !changes.contains(&change) {
                changes.push(change);
            }
            if changes.len() > CHANGES {
                return Refusal { remedy: None, ..refusal };
            }
        }
    }
    let remedy = match changes.as_slice() {
        [one] => one.clone(),
        several => several.iter().map(|change| spoken(change)).collect::<Vec<_>>().join(" and "),
    };
    Refusal { remedy: Some(remedy), ..refusal }
}

/// A change as a part of a sentence: what is only to be pasted gets its verb.
fn spoken(change: &str) -> String {
    match change {
        flags if flags.starts_with("--") => format!("add {flags}"),
        command if command.starts_with("palisade ") => format!("run {command}"),
        edit => edit.to_owned(),
    }
}

pub(crate) fn denied_by(found: DenyMatch<'_>) -> Refusal {
    let (rule, kind) = if found.prefix { (Rule::DenyPrefix, "prefix") } else { (Rule::DenyName, "name") };
    let reason = format!("the deny {kind} `{}` matches it", found.written);
    Refusal { rule, source: found.origin.clone(), reason, remedy: None }
}

fn lift(found: DenyMatch<'_>) -> String {
    let (kind, key) = if found.prefix { ("prefix", "prefixes") } else { ("name", "names") };
    let word = quoted(found.written);
    match found.origin {
        Origin::File { .. } => format!("remove {word} from [deny] {key} at {}", place(found.origin)),
        Origin::Flag(flag) => format!("leave out {flag} {word}"),
        Origin::BuiltIn | Origin::Code => format!("remove the deny {kind} {word}"),
    }
}

/// A place as it is shown elsewhere, quoted where it could be read as more than one word.
fn place(origin: &Origin) -> String {
    let shown = origin.to_string();
    if shown.chars().all(|c| c.is_alphanumeric() || "_-./~:@+".contains(c)) { shown } else { quoted(&shown) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DenyList, Profile, Subsystem, ToolId};

    fn remedy(deny: DenyList, tool: Candidate) -> Option<String> {
        let policy = Policy::for_profile(&Profile::trusted(Origin::Code), deny);
        let refusal = policy.admit(&tool).unwrap_err();
        assert_eq!(policy.explain(&tool).1.unwrap().remedy, refusal.remedy, "explain and a call say the same");
        refusal.remedy
    }

    fn tool() -> Candidate {
        Candidate::new(ToolId::parse("text/count").unwrap(), Subsystem::PluginInit)
    }

    #[test]
    fn a_remedy_names_every_entry_that_denies_in_whatever_layer() {
        let file = |name: &str, line| Origin::File { name: name.to_owned(), line };
        let mut deny = DenyList::default();
        deny.add_name("count", Origin::Flag("--deny-tool")).unwrap();
        let mut more = DenyList::default();
        more.add_name("COUNT", file("~/a b/config.toml", 3)).unwrap();
        more.add_name("text/count", file("palisade.toml", 2)).unwrap();
        more.add_prefix("Text", file("palisade.toml", 4)).unwrap();
        more.add_prefix("text", file("palisade.toml", 5)).unwrap();
        more.add_prefix("other", file("palisade.toml", 6)).unwrap();
        deny.unite(more);
        let wanted = "remove text/count from [deny] names at palisade.toml:2 and leave out --deny-tool count and \
             remove COUNT from [deny] names at '~/a b/config.toml:3' and remove Text from [deny] prefixes at palisade.toml:4 and \
             remove text from [deny] prefixes at palisade.toml:5";
        assert_eq!(remedy(deny, tool()).unwrap(), wanted);
    }

    #[test]
    fn a_remedy_goes_on_to_what_denies_next_and_is_none_where_that_cannot_be_lifted() {
        let deny = || DenyList::from_iters(["count"], [""; 0]).unwrap();
        let needs = |remedy: Option<&str>| tool().with_missing(vec![("env:A".parse().unwrap(), None)], remedy.map(str::to_owned));
        let both = |remedy: &str| super::tests::remedy(deny(), needs(Some(remedy))).unwrap();
        assert_eq!(both("--grant text:env:A"), "remove the deny name count and add --grant text:env:A");
        assert_eq!(both("palisade trust"), "remove the deny name count and run palisade trust");
        assert_eq!(remedy(DenyList::default(), needs(Some("--grant text:env:A"))).unwrap(), "--grant text:env:A");
        assert_eq!(remedy(deny(), needs(None)), None);
        assert_eq!(remedy(deny(), tool().with_pin_mismatch(Origin::Code, "other bytes".to_owned())), None);
        let shell = Candidate::new(ToolId::parse("a/bash").unwrap(), Subsystem::PluginInit);
        assert_eq!(remedy(DenyList::from_iters(["a/bash"], [""; 0]).unwrap(), shell), None);
        let many: Vec<String> = (0..50).map(|n| if n % 2 == 0 { "count".to_owned() } else { "COUNT".to_owned() }).collect();
        assert!(remedy(DenyList::from_iters(many, [""; 0]).unwrap(), tool()).is_some(), "one that stands twice is named once");
    }
}
