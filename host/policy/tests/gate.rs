//! Properties of the gate.

use palisade_policy::{Candidate, DenyList, Origin, Policy, Profile, Rule, StepVerdict, Subsystem, ToolId, Verdict};
use proptest::prelude::*;

/// Few letters, so that rules and ids meet often.
fn id() -> impl Strategy<Value = ToolId> {
    "[ab]{1,2}(-[ab])?/[ab]{1,3}".prop_map(|text| ToolId::parse(&text).unwrap())
}

fn entries() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[abAB]{1,2}(-[ab])?(/|__)?[abAB]{0,2}", 0..5)
}

fn policy(profile: &Profile, names: &[String], prefixes: &[String]) -> Policy {
    Policy::for_profile(profile, DenyList::from_iters(names, prefixes).unwrap())
}

fn profiles() -> impl Strategy<Value = Profile> {
    any::<bool>().prop_map(|t| if t { Profile::trusted(Origin::Code) } else { Profile::untrusted(Origin::Code) })
}

fn rule(policy: &Policy, tool: &Candidate) -> Option<Rule> {
    policy.admit(tool).err().map(|r| r.rule)
}

fn recase(text: &str, upper: &[bool]) -> String {
    text.chars().zip(upper.iter().cycle()).map(|(c, u)| if *u { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect()
}

proptest! {
    #[test]
    fn adding_a_deny_never_allows_more(id in id(), names in entries(), prefixes in entries(), more in entries(), profile in profiles()) {
        let tool = Candidate::new(id, Subsystem::PluginInit);
        let before = policy(&profile, &names, &prefixes).admit(&tool).is_ok();
        let all: Vec<String> = names.iter().chain(&more).cloned().collect();
        let after_names = policy(&profile, &all, &prefixes).admit(&tool).is_ok();
        let wider: Vec<String> = prefixes.iter().chain(&more).cloned().collect();
        let after_prefixes = policy(&profile, &names, &wider).admit(&tool).is_ok();
        prop_assert!(before || !after_names);
        prop_assert!(before || !after_prefixes);
    }

    #[test]
    fn letter_case_never_matters_to_the_deny_list(id in id(), names in entries(), prefixes in entries(), upper in proptest::collection::vec(any::<bool>(), 1..9)) {
        let profile = Profile::trusted(Origin::Code);
        let tool = Candidate::new(id, Subsystem::PluginInit);
        let odd = |list: &[String]| list.iter().map(|e| recase(e, &upper)).collect::<Vec<_>>();
        prop_assert_eq!(rule(&policy(&profile, &names, &prefixes), &tool), rule(&policy(&profile, &odd(&names), &odd(&prefixes)), &tool));
    }

    #[test]
    fn no_order_of_layers_changes_a_verdict(id in id(), layers in proptest::collection::vec((entries(), entries()), 1..5), profile in profiles()) {
        let tool = Candidate::new(id, Subsystem::PluginInit);
        let unite = |layers: &mut dyn Iterator<Item = &(Vec<String>, Vec<String>)>| {
            let mut deny = DenyList::default();
            for (names, prefixes) in layers {
                deny.unite(DenyList::from_iters(names, prefixes).unwrap());
            }
            Policy::for_profile(&profile, deny)
        };
        prop_assert_eq!(rule(&unite(&mut layers.iter()), &tool), rule(&unite(&mut layers.iter().rev()), &tool));
    }

    #[test]
    fn a_tool_is_admitted_exactly_when_every_explained_step_passes(id in id(), names in entries(), prefixes in entries(), profile in profiles(), needs in any::<bool>()) {
        let policy = policy(&profile, &names, &prefixes);
        let missing = if needs { vec![("fs:read:@workspace".parse().unwrap(), None)] } else { vec![] };
        let tool = Candidate::new(id, Subsystem::PluginInit).with_missing(missing, None);
        let (steps, denied) = policy.explain(&tool);
        prop_assert_eq!(policy.admit(&tool).is_ok(), steps.iter().all(|s| s.verdict == StepVerdict::Pass));
        prop_assert_eq!(rule(&policy, &tool), denied.map(|r| r.rule));
        let ordered: Vec<Rule> = steps.iter().map(|s| s.rule).collect();
        prop_assert_eq!(&ordered[..], &Rule::ALL[..7]);
    }

    #[test]
    fn a_narrowing_never_admits_more_and_nothing_outside_it(
        ids in proptest::collection::vec(id(), 1..8), allowed in proptest::collection::vec(id(), 0..8), more in proptest::collection::vec(id(), 0..8),
        names in entries(), prefixes in entries(), profile in profiles(), needs in any::<bool>(),
    ) {
        let missing = if needs { vec![("fs:read:@workspace".parse().unwrap(), None)] } else { vec![] };
        let all = policy(&profile, &names, &prefixes);
        let narrow = |policy: &Policy, ids: &[ToolId]| {
            policy.clone().with_narrowing(ids.iter().map(|id| id.as_str().to_owned()), Origin::Code, "a skill".to_owned())
        };
        let once = narrow(&all, &allowed);
        let twice = narrow(&once, &more);
        for id in ids {
            let tool = Candidate::new(id.clone(), Subsystem::PluginInit).with_missing(missing.clone(), None);
            prop_assert_eq!(once.admit(&tool).is_ok(), all.admit(&tool).is_ok() && allowed.contains(&id));
            prop_assert_eq!(twice.admit(&tool).is_ok(), once.admit(&tool).is_ok() && more.contains(&id));
            // Explaining tells the same, and what the skill denies has no remedy.
            let (_, denied) = once.explain(&tool);
            prop_assert_eq!(denied, once.admit(&tool).err());
            if !allowed.contains(&id) {
                prop_assert_eq!(once.admit(&tool).unwrap_err().remedy, None);
            }
            // One that nothing registered is outside as well.
            let unregistered = Candidate::unregistered(id.as_str());
            prop_assert!(allowed.contains(&id) || once.admit(&unregistered).is_err());
        }
    }

    #[test]
    fn a_shell_is_denied_whatever_the_rest_says(names in entries(), prefixes in entries(), profile in profiles(), which in prop::sample::select(vec!["shell/bash", "a/run-sh", "a/pwsh", "bash/x", "a/rebash"])) {
        let tool = Candidate::new(ToolId::parse(which).unwrap(), Subsystem::PluginInit);
        prop_assert_eq!(rule(&policy(&profile, &names, &prefixes), &tool), Some(Rule::ShellGate));
    }

    #[test]
    fn any_text_at_all_gets_an_answer(text in any::<String>()) {
        let policy = Policy::for_profile(&Profile::untrusted(Origin::Code), DenyList::default());
        prop_assert!(policy.admit(&Candidate::unregistered(&text)).is_err());
    }
}

#[test]
fn the_verdicts_of_the_host_are_asked_in_order_and_named() {
    let policy = Policy::for_profile(&Profile::trusted(Origin::Code), DenyList::default());
    let tool = Candidate::new(ToolId::parse("a/b").unwrap(), Subsystem::PluginInit);
    let no = || Verdict::deny(Origin::Code, "no".into(), None);
    let rules = [
        policy.admit(&tool).unwrap().arguments(no()).unwrap_err().rule,
        policy.admit(&tool).unwrap().arguments(Verdict::pass()).unwrap().budget(no()).unwrap_err().rule,
        policy
            .admit(&tool)
            .unwrap()
            .arguments(Verdict::pass())
            .unwrap()
            .budget(Verdict::pass())
            .unwrap()
            .guards((), [].into(), no())
            .unwrap_err()
            .rule,
    ];
    assert_eq!(rules, [Rule::Arguments, Rule::Budget, Rule::Guard]);
}

#[test]
fn an_empty_entry_is_an_error() {
    assert!(DenyList::from_iters([""], [] as [&str; 0]).is_err());
    assert!(DenyList::from_iters([] as [&str; 0], [" "]).is_err());
}

#[test]
fn an_unregistered_id_is_a_matter_of_trust_only_while_something_is_withheld() {
    let unknown = Candidate::unregistered("a/b");
    let untrusted = Policy::for_profile(&Profile::untrusted(Origin::Code), DenyList::default());
    let trusted = Policy::for_profile(&Profile::trusted(Origin::Code), DenyList::default());
    assert_eq!(rule(&untrusted, &unknown), Some(Rule::Trust));
    assert_eq!(rule(&trusted, &unknown), None);
    assert_eq!(rule(&trusted, &Candidate::unregistered("No Such")), Some(Rule::Name));
    assert_eq!(rule(&trusted, &Candidate::unregistered("x/bash")), Some(Rule::ShellGate));
}

#[test]
fn a_call_outside_a_narrowing_is_denied_by_name_where_the_skill_says_so() {
    let origin = Origin::File { name: "~/skills/a/SKILL.md".to_owned(), line: 4 };
    let policy = Policy::for_profile(&Profile::trusted(Origin::Code), DenyList::from_iters(["a/denied"], [""; 0]).unwrap());
    let policy = policy.with_narrowing(["a/b".to_owned(), "a/denied".to_owned()], origin.clone(), "the skill `a` leaves others".to_owned());
    let tool = |id: &str| Candidate::new(ToolId::parse(id).unwrap(), Subsystem::PluginInit);
    assert!(policy.admit(&tool("a/b")).is_ok());
    let refusal = policy.admit(&tool("a/c")).unwrap_err();
    assert_eq!((refusal.rule, &refusal.source, refusal.reason.as_str()), (Rule::DenyName, &origin, "the skill `a` leaves others"));
    assert_eq!(refusal.remedy, None);
    // What the skill leaves, the deny list still denies, with the entry that does.
    let refusal = policy.admit(&tool("a/denied")).unwrap_err();
    assert_eq!(
        (refusal.rule, refusal.source, refusal.remedy.as_deref()),
        (Rule::DenyName, Origin::Code, Some("remove the deny name a/denied"))
    );
    let (steps, _) = policy.explain(&tool("a/b"));
    assert_eq!((&steps[2].source, steps[2].verdict), (&origin, StepVerdict::Pass));
}
