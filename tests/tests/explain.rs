//! `explain`: every step with its source, and a remedy that works as it is printed, or none.

use palisade_tests::{Answer, World, answer, binary, example, guest, steady};
use serde_json::{Value, json};
use std::process::Command;

const RULES: [(&str, &str); 10] = [
    ("name", "the id is inside the grammar"),
    ("shell-gate", "nothing in the id looks like a shell"),
    ("deny-name", "no name of the deny list matches"),
    ("deny-prefix", "no prefix of the deny list matches"),
    ("trust", "the profile `trusted` initialises it"),
    ("pin", "nothing pins its source"),
    ("grant", "it needs no grant"),
    ("arguments", "they are valid against the tool's schema"),
    ("budget", "a call outside a session has no budget to spend"),
    ("guard", "no hook is configured"),
];
const READS: &str = "fs = [{ path = \"@workspace\", access = \"read\", why = \"t\" }]\n";
const TRUSTED: [&str; 2] = ["--profile", "trusted"];
/// What a shell would run, and what would turn a line around or break it.
const QUOTES: &str = "a 'b' \"c\" $(touch owned) `touch owned`;#";
const HIDDEN: &str = "a\n\u{202e}b\u{1b}[31m";

/// The whole text of `explain`: `told` are the lines that are not as for a plain tool; after one that denies all are skipped.
fn whole(tool: &str, told: &[&str], end: &str) -> String {
    let mut denied = false;
    let mut lines = Vec::new();
    for (rule, plain) in RULES {
        let own = told.iter().find(|line| line.split([' ', '(']).nth(1) == Some(rule));
        lines.push(match own {
            Some(line) => (*line).to_owned(),
            None if denied => format!("- {rule} (built-in): a step before it denied"),
            None if rule == "trust" => format!("✓ trust (--profile): {plain}"),
            None => format!("✓ {rule} (built-in): {plain}"),
        });
        denied |= lines.last().is_some_and(|line| line.starts_with('✗'));
    }
    let verdict = if denied { "deny" } else { "allow" };
    format!("{tool}: {verdict}\n{}\n{end}", lines.join("\n"))
}

/// What `explain` prints, with these flags before it.
fn explained(world: &World, flags: &[&str], call: &[&str]) -> String {
    let answer = world.palisade(&[flags, &["explain"], call].concat()).expect(0);
    clean(&answer);
    steady(world, &answer.stdout)
}

fn clean(answer: &Answer) {
    let bidi = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    for text in [&answer.stdout, &answer.stderr] {
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || bidi(c)), "{text:?}");
    }
}

/// A world with the guest as a plugin that asks for these capabilities, and the flags that name it.
fn asking(capabilities: &str) -> (World, Vec<String>) {
    let world = World::new();
    let plugin = world.plugin("guest", &guest("guest"), &format!("[capabilities]\n{capabilities}"));
    let flags = [&TRUSTED[..], &["--plugin", plugin.to_str().unwrap()]].concat();
    (world, flags.into_iter().map(str::to_owned).collect())
}

/// One whose workspace names the plugin.
fn naming(capabilities: &str) -> World {
    let world = World::new();
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n");
    world.plugin_at("workspace/plugins", "guest", &guest("guest"), &format!("[capabilities]\n{capabilities}"));
    world
}

/// One whose user's config names it.
fn configured(capabilities: &str, more: &str) -> World {
    let world = World::new();
    // Its config is below the home folder, so that a remedy names it from `~/`.
    std::fs::rename(world.path("config"), world.path("home/.config")).unwrap();
    std::os::unix::fs::symlink(world.path("home/.config"), world.path("config")).unwrap();
    world.plugin_at("own", "guest", &guest("guest"), &format!("[capabilities]\n{capabilities}"));
    world.user_config(&format!("profile = \"trusted\"\n[plugins]\ndirs = [\"{}\"]\n{more}", world.path("own").display()));
    world
}

/// One to which it was added.
fn added(capabilities: &str) -> World {
    let (world, _) = asking(capabilities);
    let plugin = world.path("plugins/guest").display().to_string();
    world.palisade(&["plugin", "add", &plugin]).expect(0);
    world
}

fn words(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[test]
fn an_allowed_call_says_what_pins_and_what_grants_and_where_that_stands() {
    let (world, flags) = asking(&format!("{READS}store = true\n"));
    let grants = ["--grant", "guest:fs:read:@workspace", "--grant", "guest:store"];
    let got = explained(&world, &[&words(&flags), &grants[..]].concat(), &["guest/counter", "{}"]);
    let granted = "✓ grant (--grant): everything it needs is granted: fs:read:@workspace (--grant), store (--grant)";
    assert_eq!(got, whole("guest/counter", &[granted], ""));
    let world = added(READS);
    world.palisade(&["--profile", "trusted", "plugin", "grant", "guest", "fs:read:@workspace", "--yes"]).expect(0);
    let lock = world.palisade(&["--profile", "trusted", "plugin", "list", "--lock"]).expect(0).stdout;
    world.write("workspace/palisade.lock", lock);
    let pinned = "✓ pin (~/data/palisade/plugins/installed.json:2): guest is what was added, and what palisade.lock:3 says";
    let granted = "✓ grant (~/state/palisade/grants.json:2): everything it needs is granted: \
                   fs:read:@workspace (~/state/palisade/grants.json:2)";
    let arguments = "- arguments (built-in): no arguments were given";
    assert_eq!(explained(&world, &TRUSTED, &["guest/counter"]), whole("guest/counter", &[pinned, granted, arguments], ""));
}

#[test]
fn a_rule_of_the_gate_is_explained_with_file_and_line_or_flag() {
    let world = World::new();
    let (shell, text) = (example("shell").display().to_string(), example("text-stats").display().to_string());
    let flags = ["--profile", "trusted", "--plugin", &shell, "--plugin", &text];
    let denied = "✗ shell-gate (built-in): its id contains `bash`; no flag, file or profile allows it";
    assert_eq!(explained(&world, &flags, &["shell/bash"]), whole("shell/bash", &[denied], "nothing allows it\n"));
    let id = "text-stats/count";
    // In a home folder, as most people have it.
    world.write("home/.palisade/config.toml", "[deny]\nnames = [\n  \"other\", \"Count\",\n]\n");
    let mut command = world.command(&[&flags[..], &["explain", id]].concat());
    command.env("PALISADE_HOME", world.path("home/.palisade"));
    let denied = "✗ deny-name (~/.palisade/config.toml:3): the deny name `Count` matches it";
    let end = "to allow it: remove Count from [deny] names at ~/.palisade/config.toml:3\n";
    assert_eq!(steady(&world, &answer(command).expect(0).stdout), whole(id, &[denied], end));
    world.write("workspace/palisade.toml", "# A comment.\n[deny]\nprefixes = [\"text\"]\n");
    let denied = "✗ deny-prefix (palisade.toml:3): the deny prefix `text` matches it";
    let end = "to allow it: remove text from [deny] prefixes at palisade.toml:3\n";
    assert_eq!(explained(&world, &flags, &[id]), whole(id, &[denied], end));
    // All that denies is in the remedy.
    let denied = "✗ deny-name (--deny-tool): the deny name `COUNT` matches it";
    let end = "to allow it: leave out --deny-tool COUNT and remove text from [deny] prefixes at palisade.toml:3\n";
    assert_eq!(explained(&world, &[&flags[..], &["--deny-tool", "COUNT"]].concat(), &[id]), whole(id, &[denied], end));
    world.write("workspace/palisade.toml", "");
    let denied = "✗ arguments (built-in): 7 is not of type \"string\" at /text";
    assert_eq!(explained(&world, &flags, &[id, "{\"text\": 7}"]), whole(id, &[denied], ""));
    let hostile = format!("text-stats/{HIDDEN}");
    let denied = "✗ name (built-in): the tool part of a tool id is `[a-z][a-z0-9]*([-_][a-z0-9]+)*`, at most 64 bytes";
    assert_eq!(explained(&world, &flags, &[&hostile]), whole("text-stats/a b", &[denied], "nothing allows it\n"));
}

#[test]
fn what_trust_withholds_is_explained_with_what_would_give_it() {
    let (world, _) = asking("");
    let plugin = world.path("plugins/guest").display().to_string();
    let id = "guest/counter";
    let denied = "✗ trust (built-in): the profile `untrusted` withholds it";
    assert_eq!(explained(&world, &["--plugin", &plugin], &[id]), whole(id, &[denied], "to allow it: --profile trusted\n"));
    let world = naming("");
    let denied = "✗ trust (palisade.toml:2): the workspace names sources and is not trusted; nothing of them was read";
    let end = "to allow it: --trust-workspace\n";
    assert_eq!(explained(&world, &TRUSTED, &[id]), whole(id, &[denied], end));
    // No profile gives what the workspace names.
    assert_eq!(explained(&world, &[], &[id]), whole(id, &[denied], end));
    let typed = "✓ trust (palisade.toml:2): --trust-workspace activates what palisade.toml:2 names";
    let arguments = "- arguments (built-in): no arguments were given";
    assert_eq!(explained(&world, &["--trust-workspace"], &[id]), whole(id, &[typed, arguments], ""));
    // Beside it, the user's own still runs by the profile.
    let own = world.plugin("own", &guest("guest"), "").display().to_string();
    let got = explained(&world, &["--trust-workspace", "--profile", "trusted", "--plugin", &own], &["own/counter"]);
    assert_eq!(got, whole("own/counter", &[arguments], ""));
    world.palisade(&["trust", "--yes"]).expect(0);
    world.write(&format!("workspace/plugins/guest/{HIDDEN}"), "new");
    let denied = "✗ trust (palisade.toml:2): the workspace names sources, and it is not as it was trusted: plugins/guest/a b; \
                  palisade trust looks at it again; nothing of them was read";
    assert_eq!(explained(&world, &TRUSTED, &[id]), whole(id, &[denied], end));
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n[mcp.x]\ncommand = [\"x\"]\n");
    let denied = "✗ trust (palisade.toml:2): the workspace names sources and cannot be trusted (palisade.toml:3: `mcp`: this version \
                  does not run it, so it cannot be trusted; remove the key); nothing of them was read";
    assert_eq!(explained(&world, &TRUSTED, &[id]), whole(id, &[denied], "nothing allows it\n"));
}

#[test]
fn a_missing_grant_is_explained_with_the_line_that_gives_all_of_them() {
    let id = "guest/counter";
    let net = "net = [{ url = \"https://xn--bcher-kva.example\", auth = \"TOKEN\", why = \"t\" }]\n";
    let check = |got: String, needs: &str, end: &str| {
        let denied = format!("✗ grant (built-in): guest needs {needs}, which nobody granted");
        assert_eq!(got, whole(id, &[&denied], end));
    };
    let (world, flags) = asking(READS);
    check(explained(&world, &words(&flags), &[id]), "fs:read:@workspace", "to allow it: --grant guest:fs:read:@workspace\n");
    let (world, flags) = asking(net);
    let end = "to allow it: --grant guest:net:https://xn--bcher-kva.example --grant guest:auth:TOKEN@https://xn--bcher-kva.example\n";
    let needs = "net:https://xn--bcher-kva.example and auth:TOKEN@https://xn--bcher-kva.example";
    check(explained(&world, &words(&flags), &[id]), needs, end);
    let world = configured("env = [{ name = \"LANG\", why = \"t\" }]\n", "");
    let denied = "✗ grant (built-in): guest needs env:LANG, which nobody granted";
    let trust = "✓ trust (~/.config/palisade/config.toml:1): the profile `trusted` initialises it";
    let end = "to allow it: palisade --profile trusted plugin grant guest env:LANG\n";
    assert_eq!(explained(&world, &[], &[id]), whole(id, &[trust, denied], end));
    let world = added("store = true\n");
    let pin = "✓ pin (~/data/palisade/plugins/installed.json:2): guest is what was added";
    let denied = "✗ grant (built-in): guest needs store, which nobody granted";
    assert_eq!(explained(&world, &TRUSTED, &[id]), whole(id, &[pin, denied], "to allow it: --grant guest:store\n"));
    let world = naming(READS);
    let trust = "✓ trust (palisade.toml:2): --trust-workspace activates what palisade.toml:2 names";
    let denied = "✗ grant (built-in): guest needs fs:read:@workspace, which nobody granted";
    assert_eq!(explained(&world, &["--trust-workspace"], &[id]), whole(id, &[trust, denied], "to allow it: palisade trust\n"));
}

#[test]
fn what_no_line_allows_is_explained_without_one() {
    let id = "guest/counter";
    let nothing = "nothing allows it\n";
    let (world, flags) = asking("");
    world.plugin("guest", &guest("store"), "");
    let denied = "✗ grant (built-in): guest needs store, which its plugin.toml does not ask for";
    assert_eq!(explained(&world, &words(&flags), &["guest/put"]), whole("guest/put", &[denied], nothing));
    for (path, access, why) in [
        ("@workspace", "write", "it may not be written: it is or contains the workspace"),
        ("@workspace/none", "read", "there is no such file"),
    ] {
        let (world, flags) = asking(&format!("{READS}store = true\n").replace("@workspace", path).replace("read", access));
        let denied = format!("✗ grant (built-in): guest needs fs:{access}:{path}, which cannot be granted: {why}");
        assert_eq!(explained(&world, &words(&flags), &[id]), whole(id, &[&denied], nothing));
    }
    let many: String = (0..17).map(|n| READS.replace("@workspace", &format!("@workspace/{n}")).replace("read", "write")).collect();
    let (world, flags) = asking(&many.replace("]\nfs = [", ", "));
    (0..17).for_each(|n| drop(world.write(&format!("workspace/{n}/x"), "")));
    let denied = "✗ grant (built-in): guest needs fs:write:@workspace/16, which nobody granted; it is one of more than 16 folders to \
                  write, too many for one remedy";
    assert_eq!(explained(&world, &words(&flags), &[id]), whole(id, &[denied], nothing));
    let world = naming(READS);
    std::os::unix::fs::symlink("plugin.toml", world.path("workspace/plugins/guest/link")).unwrap();
    let trust = "✓ trust (palisade.toml:2): --trust-workspace activates what palisade.toml:2 names";
    let denied = "✗ grant (built-in): guest needs fs:read:@workspace, which cannot be granted: the workspace cannot be trusted: \
                  plugins/guest/link: it is a symbolic link";
    assert_eq!(explained(&world, &["--trust-workspace"], &[id]), whole(id, &[trust, denied], nothing));
    let world = added("");
    let stored = world.files().into_iter().find(|f| f.starts_with("data/") && f.ends_with("plugin.toml")).unwrap();
    std::fs::write(world.path(&stored), std::fs::read_to_string(world.path(&stored)).unwrap() + "# more\n").unwrap();
    let denied = "✗ pin (~/data/palisade/plugins/installed.json:2): guest is sha256:DIGEST, and sha256:DIGEST was added";
    assert_eq!(explained(&world, &TRUSTED, &[id]), whole(id, &[denied], nothing));
    // A deny that could be lifted would not help either.
    let deny = "✗ deny-name (--deny-tool): the deny name `counter` matches it";
    let flags = ["--profile", "trusted", "--deny-tool", "counter"];
    assert_eq!(explained(&world, &flags, &[id]), whole(id, &[deny], nothing));
    let world = configured("", "");
    let lock = world.palisade(&["plugin", "list", "--lock"]).expect(0).stdout;
    world.write("workspace/palisade.lock", lock.replace("version = \"0.1.0\"", "version = \"0.1.1\""));
    let trust = "✓ trust (~/.config/palisade/config.toml:1): the profile `trusted` initialises it";
    let denied = "✗ pin (palisade.lock:3): the version of guest is not what palisade.lock says";
    assert_eq!(explained(&world, &[], &[id]), whole(id, &[trust, denied], nothing));
}

/// A command line under test: what stands before the command, and what was pasted after it.
struct Line<'w> {
    world: &'w World,
    before: Vec<String>,
    after: Vec<String>,
}

impl Line<'_> {
    /// The denial of a call, where the gate denies it; `explain` says the same.
    fn denied(&self) -> Option<Value> {
        let run = |command: &str| {
            let mut args: Vec<&str> = vec!["--format", "json"];
            args.extend(words(&self.before));
            args.extend([command, "guest/counter", "{}"]);
            args.extend(words(&self.after));
            let answer = self.world.palisade(&args);
            clean(&answer);
            answer
        };
        let (called, explained) = (run("call"), run("explain").expect(0).json());
        let passed = called.code == 0;
        assert!(passed || called.code == 3, "{}", called.stderr);
        assert_eq!(explained["verdict"] == "allow", passed, "{explained}");
        let denial = called.json()["denial"].clone();
        assert_eq!(explained["remedy"], denial["remedy"], "{denial}");
        (!passed).then_some(denial)
    }

    /// A shell in this world, in which `palisade` is the binary under test and the answer to its question is yes.
    fn shell(&self, script: &str) -> String {
        let palisade = self.world.command(&[]);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("set -f; palisade() {{ \"$BINARY\" \"$@\" --yes; }}; {script}")).current_dir(self.world.workspace());
        shell.env_clear().envs(palisade.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("BINARY", binary());
        let answer = answer(shell).expect(0);
        answer.stdout
    }

    /// Does what a remedy says, as it is printed.
    fn apply(&mut self, remedy: &str) {
        if remedy.starts_with("palisade ") {
            self.shell(remedy);
            return;
        }
        let read = self.shell(&format!("printf '%s\\0' {remedy}"));
        let mut words = read.split_terminator('\0').map(str::to_owned).peekable();
        if remedy.starts_with("--") {
            self.after.extend(words);
            return;
        }
        while let Some(verb) = words.next() {
            match verb.as_str() {
                "and" => {}
                "add" => {
                    while let Some(flag) = words.next_if(|word| word.starts_with("--")) {
                        let value = if flag == "--trust-workspace" { None } else { words.next() };
                        self.after.extend([flag].into_iter().chain(value));
                    }
                }
                "run" => return self.apply(remedy.rsplit_once(" and run ").expect("it is the last").1),
                "leave" => {
                    let taken: Vec<String> = words.by_ref().skip(1).take(2).collect();
                    let all = [&self.before, &self.after].map(|list| list.windows(2).filter(|pair| **pair == taken[..]).count());
                    assert_eq!(all.iter().sum::<usize>(), 1, "{taken:?}");
                    for list in [&mut self.before, &mut self.after] {
                        if let Some(at) = list.windows(2).position(|pair| pair == taken) {
                            list.drain(at..at + 2);
                        }
                    }
                }
                "remove" => {
                    let rest: Vec<String> = words.by_ref().take(6).collect();
                    let [entry, from, table, _, at, place] = &rest[..] else { panic!("{rest:?}") };
                    assert_eq!([from.as_str(), table, at], ["from", "[deny]", "at"]);
                    let (file, line) = place.rsplit_once(':').unwrap();
                    let path = match file.strip_prefix("~/") {
                        Some(below) => self.world.path("home").join(below),
                        None => self.world.workspace().join(file),
                    };
                    let text = std::fs::read_to_string(&path).unwrap();
                    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                    let at = &mut lines[line.parse::<usize>().unwrap() - 1];
                    assert!(at.contains(&format!("\"{entry}\"")), "{at}");
                    *at = at.replace(&format!("\"{entry}\","), "").replace(&format!("\"{entry}\""), "");
                    std::fs::write(&path, lines.join("\n")).unwrap();
                }
                other => panic!("{other} in {remedy}"),
            }
        }
    }
}

/// Applies remedies until a call passes; `rules` are those that denied it, one after the other.
fn mended(world: &World, flags: &[&str], rules: &[&str]) -> Vec<String> {
    let mut line = Line { world, before: flags.iter().map(|&flag| flag.to_owned()).collect(), after: Vec::new() };
    let mut remedies = Vec::new();
    for rule in rules {
        let denial = line.denied().unwrap_or_else(|| panic!("{rule} does not deny: {remedies:?}"));
        assert_eq!(denial["rule"], *rule, "{denial}");
        let remedy = denial["remedy"].as_str().unwrap_or_else(|| panic!("no remedy: {denial}")).to_owned();
        line.apply(&remedy);
        remedies.push(remedy);
    }
    assert_eq!(line.denied(), None, "after {remedies:?}");
    assert!(!world.files().iter().any(|file| file.ends_with("owned")), "a shell ran what a name held");
    remedies
}

#[test]
fn every_remedy_makes_the_call_pass_as_it_is_printed() {
    let env = "env = [{ name = \"LANG\", why = \"t\" }]\n";
    let net = "net = [{ url = \"https://xn--bcher-kva.example\", auth = \"TOKEN\", why = \"t\" }]\n";
    let everything = format!("{READS}{net}{env}store = true\n");
    let (world, flags) = asking(&everything);
    let flags = words(&flags);
    // What stands before the command goes on counting beside what is pasted after it.
    assert!(mended(&world, &[&flags[..], &["--grant", "guest:store"]].concat(), &["grant"])[0].matches("--grant").count() == 4);
    mended(&configured(&everything, ""), &[], &["grant"]);
    mended(&added(&everything), &TRUSTED, &["grant"]);
    mended(&naming(&everything), &["--trust-workspace"], &["grant"]);
    let world = naming(&everything);
    world.palisade(&["trust", "--yes"]).expect(0);
    assert_eq!(mended(&world, &[], &[]), [""; 0]);
    world.palisade(&["plugin", "revoke", "guest"]).expect(0);
    mended(&world, &[], &["grant"]);
    // Denied twice, by flag, user and workspace, with a grant missing besides.
    let world = configured(READS, "[deny]\nnames = [\"COUNTER\", \"x\"]\nprefixes = [\"gue\"]\n");
    world.write("workspace/palisade.toml", "[deny]\nnames = [\"x\",\n\"guest/counter\"]\nprefixes = [\"Guest__\"]\n");
    let remedies = mended(&world, &["--deny-tool", "counter", "--deny-tool", "y"], &["deny-name"]);
    let parts =
        ["leave out --deny-tool counter", "COUNTER from [deny] names at ~/.config/palisade/config.toml:5", "run palisade --profile"];
    assert!(parts.iter().all(|part| remedies[0].contains(part)) && remedies[0].matches(" and ").count() == 5, "{remedies:?}");
    // A deny of a profile of the user's own.
    let world = configured("", "[profiles.mine]\nsubsystems = [\"plugin_init\"]\ndeny = { prefixes = [\"COUNT\"] }\n");
    let remedies = mended(&world, &["--profile", "mine"], &["deny-prefix"]);
    assert_eq!(remedies, ["remove COUNT from [deny] prefixes at ~/.config/palisade/config.toml:6"]);
    let (world, flags) = asking(READS);
    let remedies = mended(&world, &[&words(&flags)[..], &["--deny-prefix", "Guest/"]].concat(), &["deny-prefix"]);
    assert_eq!(remedies, ["leave out --deny-prefix Guest/ and add --grant guest:fs:read:@workspace"]);
}

#[test]
fn a_remedy_for_what_was_not_read_lifts_the_rule_and_the_next_denial_has_its_own() {
    let (world, _) = asking(READS);
    let plugin = world.path("plugins/guest").display().to_string();
    let grant = "--grant guest:fs:read:@workspace";
    // Also where another profile was typed.
    for flags in [&["--plugin", &plugin][..], &["--profile", "untrusted", "--plugin", &plugin]] {
        assert_eq!(mended(&world, flags, &["trust", "grant"]), ["--profile trusted", grant]);
    }
    let deny = ["--plugin", &plugin, "--deny-tool", "counter"];
    assert_eq!(mended(&world, &deny, &["deny-name", "grant"])[0], "leave out --deny-tool counter and add --profile trusted");
    let after = ["--profile", "untrusted"].map(str::to_owned).to_vec();
    let mut line = Line { world: &world, before: vec!["--plugin".to_owned(), plugin.clone()], after };
    line.apply("--profile trusted");
    assert_eq!(line.denied().unwrap()["rule"], "grant");
    for flags in [&[][..], &TRUSTED, &["--profile", "untrusted"]] {
        assert_eq!(mended(&naming(""), flags, &["trust"]), ["--trust-workspace"]);
        assert_eq!(mended(&naming(READS), flags, &["trust", "grant"]), ["--trust-workspace", "palisade trust"]);
    }
    // What was added is known by name; whose another is, nobody knows, and the user's own comes first.
    let world = naming("");
    let other = world.plugin("other", &guest("guest"), "").display().to_string();
    world.palisade(&["plugin", "add", &other]).expect(0);
    assert_eq!(mended(&world, &[], &["trust"]), ["--trust-workspace"]);
    let mine = world.palisade(&["--format", "json", "explain", "other/counter"]).expect(0).json();
    assert_eq!(mine["remedy"], "--profile trusted");
    world.palisade(&["plugin", "remove", "other"]).expect(0);
    assert_eq!(mended(&world, &["--plugin", &other], &["trust", "trust"]), ["--profile trusted", "--trust-workspace"]);
    let world = naming(READS);
    world.palisade(&["trust", "--yes"]).expect(0);
    world.write("workspace/plugins/guest/new", "");
    assert_eq!(mended(&world, &[], &["trust"]), ["--trust-workspace"]);
    let manifest = world.path("workspace/plugins/guest/plugin.toml");
    std::fs::write(&manifest, std::fs::read_to_string(&manifest).unwrap() + "# more\n").unwrap();
    assert_eq!(mended(&world, &[], &["trust", "grant"]), ["--trust-workspace", "palisade trust"]);
    assert_eq!(mended(&world, &[], &[]), [""; 0]);
}

/// Worlds in which this text is the name of a folder that a remedy has to name, with flags and how the remedy begins.
fn named(text: &str) -> Vec<(World, Vec<String>, &'static str)> {
    let toml = |text: &str| Value::from(text).to_string();
    let folder = |world: &World| {
        let folder = world.path("").join(text);
        std::fs::create_dir(&folder).unwrap();
        folder.to_str().unwrap().to_owned()
    };
    let wants = |path: &str| format!("fs = [{{ path = {}, access = \"read\", mount = \"/d\", why = \"t\" }}]\n", toml(path));
    let mut worlds = Vec::new();
    // A folder that a plugin asks for, by flag and by config.
    let (world, flags) = asking("");
    let asked = format!("[capabilities]\n{}", wants(&folder(&world)));
    world.plugin("guest", &guest("guest"), &asked);
    worlds.push((world, flags, "--grant \"guest:fs:read:/"));
    let world = configured("", "");
    let asked = format!("[capabilities]\n{}", wants(&folder(&world)));
    world.plugin_at("own", "guest", &guest("guest"), &asked);
    worlds.push((world, Vec::new(), "palisade --profile trusted plugin grant guest \"fs:read:/"));
    // A workspace that was typed.
    let world = World::new();
    let workspace = folder(&world);
    let below = format!("{text}/plugins");
    world.plugin_at(&below, "guest", &guest("guest"), &format!("[capabilities]\n{READS}"));
    world.write(&format!("{text}/palisade.toml"), "[plugins]\ndirs = [\"plugins\"]\n");
    worlds.push((world, vec!["--workspace".to_owned(), workspace, "--trust-workspace".to_owned()], "palisade --workspace \"/"));
    // A config that was typed, in which a plugin is named and then denied.
    for (deny, begins) in [("", "palisade --config \"/"), ("[deny]\nnames = [\"counter\"]\n", "remove counter from [deny] names at \"/")] {
        let asked = if deny.is_empty() { READS } else { "" };
        let world = configured(asked, deny);
        let config = format!("{}/config.toml", folder(&world));
        std::fs::rename(world.path("config/palisade/config.toml"), &config).unwrap();
        worlds.push((world, vec!["--config".to_owned(), config], begins));
    }
    worlds
}

#[test]
fn a_name_that_would_run_in_a_shell_is_quoted_in_its_remedy_and_one_that_hides_has_none() {
    for (world, flags, begins) in named(QUOTES) {
        let rule = if begins.starts_with("remove") { "deny-name" } else { "grant" };
        let remedies = mended(&world, &words(&flags), &[rule]);
        assert!(remedies[0].starts_with(begins), "{remedies:?}");
    }
    for (world, before, begins) in named(HIDDEN) {
        let denial = Line { world: &world, before, after: Vec::new() }.denied().unwrap();
        assert_eq!(denial["remedy"], json!(null), "{begins}");
    }
    // An entry that no id can be denies nothing, and is named in one clean line.
    let (world, mut flags) = asking("");
    flags.extend(["--deny-tool".to_owned(), format!("{QUOTES}{HIDDEN}")]);
    assert_eq!(mended(&world, &words(&flags), &[]), [""; 0]);
}

#[test]
fn a_deny_before_the_command_counts_beside_one_after_it() {
    let (world, flags) = asking("");
    for (first, second) in [("--deny-tool", "--deny-tool"), ("--deny-prefix", "--deny-prefix")] {
        for (one, other) in [("counter", "other"), ("other", "counter")] {
            let ahead = [&words(&flags)[..], &[first, one]].concat();
            let after = format!("{second}={other}");
            let spelled = [&ahead[..], &["call", "guest/counter", "{}", second, other]].concat();
            world.palisade(&spelled).expect(3);
            world.palisade(&[&ahead[..], &["call", "guest/counter", &after]].concat()).expect(3);
        }
    }
    // A flag without its value is refused as it was typed, and takes no command for one.
    world.palisade(&["call", "tools", "--deny-tool"]).expect(2);
    world.palisade(&["--workspace", "--deny-tool", "x", ".", "status"]).expect(2);
    world.palisade(&[&words(&flags)[..], &["--deny-tool", "--grant", "guest:store", "tools"]].concat()).expect(2);
    world.palisade(&[&words(&flags)[..], &["call", "guest/echo", "--", "--deny-tool"]].concat()).expect(3);
}
