//! Skills: read only where trust says so, set aside alone where they are broken, and with tools that pass the gate as any.

use palisade_tests::{Answer, World, example, example_skill, guest};
use serde_json::json;
use std::os::unix::fs::symlink;

const OWN: &str = "profile = \"trusted\"\n[skills]\ndirs = [\"~/skills\"]\n";

/// The user's own skills, in `~/skills`.
fn own() -> World {
    let world = World::new();
    world.user_config(OWN);
    world.write("home/skills/readme.txt", "a file is no skill");
    world
}

/// A workspace that names skills, with a user who has a trusted profile.
fn workspace() -> World {
    let world = World::new();
    world.write("workspace/palisade.toml", "[skills]\ndirs = [\"skills\"]\n");
    world
}

fn json(world: &World, args: &[&str]) -> Answer {
    world.palisade(&[&["--format", "json"], args].concat())
}

/// The example skill in a folder of the world.
fn release_notes(world: &World, folder: &str) {
    for file in ["SKILL.md", "plugin.toml", "release-notes.wasm"] {
        world.write(&format!("{folder}/release-notes/{file}"), std::fs::read(example_skill("release-notes").join(file)).unwrap());
    }
}

/// A skill with a guest as its component.
fn with_guest(world: &World, folder: &str, name: &str, front: &str, manifest: &str) {
    world.skill_at(folder, name, front, "Text.\n");
    world.plugin_at(folder, name, &guest("guest"), manifest);
}

#[test]
fn nothing_of_a_skill_is_opened_that_the_profile_or_the_workspace_withholds() {
    let world = own();
    with_guest(&world, "home/skills", "mine", "", "");
    world.write("workspace/palisade.toml", "[skills]\ndirs = [\"skills\"]\n");
    world.skill_at("workspace/skills", "theirs", "", "Text.\n");
    let folders = ["home/skills", "home/skills/mine", "workspace/skills", "workspace/skills/theirs"];
    let commands = [
        &["status"][..],
        &["tools"],
        &["skill", "list"],
        &["skill", "show", "mine"],
        &["skill", "check"],
        &["run", "--skill", "mine", "count"],
        &["call", "mine/echo", "{\"text\":\"a\"}"],
        &["explain", "mine/echo"],
    ];
    let touched = world.opened(&folders, || {
        for command in commands {
            let code = json(&world, &[&["--profile", "untrusted"], command].concat()).code;
            let wanted = match command[0] {
                "call" => 3,
                "run" => 6,
                "skill" if command[1] != "list" => 6,
                _ => 0,
            };
            assert_eq!(code, wanted, "{command:?}");
        }
        let status = json(&world, &["--profile", "untrusted", "status"]).expect(0).json();
        assert_eq!(status["init"]["skill_init"], json!({"enabled": false, "reason": "the profile `untrusted` withholds it (--profile)"}));
        assert_eq!((&status["skills"], &status["quarantined"]), (&json!(0), &json!([])));
    });
    assert_eq!(touched, [] as [String; 0]);
    let denied = json(&world, &["--profile", "untrusted", "call", "mine/echo"]).expect(3).json();
    assert_eq!((&denied["denial"]["rule"], &denied["denial"]["remedy"]), (&json!("trust"), &json!("--profile trusted")));
    let error = json(&world, &["--profile", "untrusted", "run", "--skill", "mine", "a"]).expect(6).error();
    assert_eq!(
        error,
        json!({
            "kind": "not-found", "message": "there is no skill mine; skills: the profile `untrusted` withholds it", "hint": "--profile trusted",
        })
    );
    // A trusted profile opens the user's own, and nothing of a workspace that nobody trusted.
    let touched = world.opened(&folders[..2], || drop(json(&world, &["skill", "list"]).expect(0)));
    assert_eq!(touched, ["", "SKILL.md", "mine", "mine.wasm", "plugin.toml"], "the watch sees what is opened");
    let touched = world.opened(&folders[2..], || {
        for command in commands {
            let _ = json(&world, command);
        }
    });
    assert_eq!(touched, [] as [String; 0]);
}

#[test]
fn a_workspaces_skills_count_once_it_is_trusted_and_until_any_file_of_them_changes() {
    let world = workspace();
    with_guest(&world, "workspace/skills", "theirs", "", "");
    world.write("workspace/skills/theirs/references/more.md", "more");
    let withheld = "the workspace names sources and is not trusted; nothing of them was read";
    let status = json(&world, &["--profile", "trusted", "status"]).expect(0).json();
    assert_eq!(status["init"]["skill_init"], json!({"enabled": false, "reason": format!("{withheld} (palisade.toml:2)")}));
    let denied = json(&world, &["--profile", "trusted", "call", "theirs/echo"]).expect(3).json();
    assert_eq!(
        denied["denial"],
        json!({
            "number": 1, "tool": "theirs/echo", "rule": "trust", "source": "palisade.toml:2", "reason": withheld,
            "remedy": "--trust-workspace",
        })
    );
    let typed = json(&world, &["--trust-workspace", "skill", "list"]).expect(0);
    assert_eq!(typed.json()["skills"][0]["name"], "theirs");
    assert!(typed.stderr.contains("--trust-workspace activates the skill theirs in skills/theirs\n"), "{}", typed.stderr);
    // The record holds every file of the skill's folder.
    let trusted = json(&world, &["trust", "--yes"]).expect(0);
    assert_eq!((&trusted.json()["files"], &trusted.json()["skills"]), (&json!(5), &json!(["theirs"])));
    assert!(trusted.stderr.contains("the skill theirs in skills/theirs, with tools: Says what theirs does.\n"), "{}", trusted.stderr);
    let reason = json(&world, &["status"]).expect(0).json()["init"]["skill_init"]["reason"].clone();
    assert_eq!(reason, "the trust record activates what palisade.toml:2 names (palisade.toml:2)");
    let tools = json(&world, &["skill", "list"]).expect(0).json()["skills"][0]["tools"].clone();
    assert!(tools.as_array().unwrap().contains(&json!("theirs/echo")), "{tools}");
    json(&world, &["call", "theirs/counter", "{}"]).expect(0);
    for file in ["skills/theirs/SKILL.md", "skills/theirs/references/more.md", "skills/theirs/new.txt"] {
        let path = world.path("workspace").join(file);
        let before = std::fs::read(&path).ok();
        std::fs::write(&path, "---\nname: theirs\ndescription: another\n---\n").unwrap();
        let list = json(&world, &["--profile", "trusted", "skill", "list"]).expect(0).json();
        assert_eq!(list["skills"], json!([]), "{file}");
        let changed = json(&world, &["status"]).expect(0).json()["workspace_trust"]["changed"].clone();
        assert_eq!(changed, json!([file]));
        match before {
            Some(before) => std::fs::write(&path, before).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        json(&world, &["call", "theirs/counter", "{}"]).expect(0);
    }
    // A link is no part of what is trusted.
    symlink("SKILL.md", world.path("workspace/skills/theirs/link")).unwrap();
    let error = json(&world, &["trust", "--yes"]).expect(7).error();
    assert_eq!(error["message"], "the workspace cannot be trusted: skills/theirs/link: it is a symbolic link");
}

#[test]
fn a_skill_is_listed_shown_and_checked() {
    let world = own();
    release_notes(&world, "home/skills");
    world.skill_at("home/skills", "plain", "version: 1\nallowed-tools: a/b, c\nmetadata:\n  by: me\n", "# Do it\n\u{1b}[31mred\u{202e}\n");
    world.write("home/skills/plain/references/a b.md", "more");
    world.write("home/skills/plain/.hidden/x", "x");
    let size = std::fs::metadata(world.path("home/skills/plain/SKILL.md")).unwrap().len();
    let description = std::fs::read_to_string(example_skill("release-notes").join("SKILL.md")).unwrap();
    let description = description.lines().find_map(|line| line.strip_prefix("description: ")).unwrap().to_owned();
    assert_eq!(
        json(&world, &["skill", "list"]).expect(0).json(),
        json!({
            "skills": [
                {"name": "plain", "description": "Says what plain does.", "folder": "~/skills/plain", "tools": [], "findings": 1},
                {"name": "release-notes", "description": description, "folder": "~/skills/release-notes", "tools": ["release-notes/group"], "findings": 0},
            ],
            "quarantined": [],
        })
    );
    let findings = json!([{"line": 4, "what": "`version` is no key of the format; put your own below `metadata`"}]);
    let notes = json!([
        {"line": 5, "what": "`allowed-tools` has commas; the format separates names by spaces"},
        {"line": 9, "what": "the text holds control or bidi characters; they are taken out"},
    ]);
    assert_eq!(
        json(&world, &["skill", "show", "plain"]).expect(0).json(),
        json!({
            "name": "plain", "description": "Says what plain does.", "license": null, "compatibility": null, "metadata": {"by": "me"},
            "folder": "~/skills/plain", "files": [{"path": "SKILL.md", "size": size}, {"path": "references/a b.md", "size": 4}], "tools": [],
            "allowed_tools": {"names": ["a/b", "c"], "line": 5, "leaves": [], "ignored": ["a/b", "c"]},
            "findings": findings, "notes": notes, "text": "# Do it\nred",
        })
    );
    assert_eq!(
        json(&world, &["skill", "check"]).expect(7).json(),
        json!({
            "clean": false,
            "skills": [
                {"name": "plain", "folder": "~/skills/plain", "findings": findings, "notes": notes},
                {"name": "release-notes", "folder": "~/skills/release-notes", "findings": [], "notes": []},
            ],
            "quarantined": [],
        })
    );
    let shown = world.palisade(&["skill", "show", "plain"]).expect(0).stdout;
    assert_eq!(
        shown,
        format!(
            "plain: Says what plain does.\nfolder: ~/skills/plain\nmetadata by: me\nleaves of the tools, while it is active: none\n\
         ~/skills/plain/SKILL.md:5: a/b, c in `allowed-tools`: no tool here, ignored\nfile SKILL.md: {size} bytes\n\
         file references/a b.md: 4 bytes\n\
         finding: ~/skills/plain/SKILL.md:4: `version` is no key of the format; put your own below `metadata`\n\
         note: ~/skills/plain/SKILL.md:5: `allowed-tools` has commas; the format separates names by spaces\n\
         note: ~/skills/plain/SKILL.md:9: the text holds control or bidi characters; they are taken out\n\n# Do it\nred\n"
        )
    );
    // A folder that a person names needs no profile, as one skill and as many.
    let plain = world.path("home/skills/plain");
    let checked = json(&world, &["--profile", "untrusted", "skill", "check", plain.to_str().unwrap()]).expect(7).json();
    assert_eq!((&checked["skills"][0]["findings"], checked["skills"].as_array().unwrap().len()), (&findings, 1));
    let good = example_skill("release-notes");
    let checked = json(&world, &["--profile", "untrusted", "skill", "check", good.parent().unwrap().to_str().unwrap()]).expect(0).json();
    assert_eq!((&checked["clean"], checked["skills"].as_array().unwrap().len()), (&json!(true), 1));
    let error = json(&world, &["skill", "check", world.path("plugins").to_str().unwrap()]).expect(6).error();
    assert!(error["message"].as_str().unwrap().starts_with("there is no skill in "), "{error}");
    assert_eq!(json(&world, &["skill", "show", "none"]).expect(6).error()["message"], "there is no skill none");
}

#[test]
fn what_cannot_be_used_is_set_aside_alone_with_its_reason() {
    let world = own();
    world.skill_at("home/skills", "good", "", "Text.\n");
    let bomb: String = (1..20).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "))).collect();
    let nested: String = (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth.min(25)))).collect();
    let deep: String = (0..40).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let front = |more: &str| format!("---\nname: x\ndescription: d\n{more}---\n");
    let broken: [(&str, Vec<u8>, &str); 10] = [
        ("bare", b"# Only text\n".to_vec(), "SKILL.md: it does not start with front matter, a line `---`"),
        ("binary", b"---\nname: binary\ndescription: d\n---\n\x00\x01".to_vec(), "SKILL.md: it is binary"),
        (
            "bomb",
            front(&format!("a0: &a0 x\n{bomb}")).into(),
            "SKILL.md:5: its front matter is not YAML that is read: an alias (`*`) is not read; write the value out",
        ),
        ("brackets", front(&"[".repeat(60_000)).into(), "SKILL.md:4: its front matter is not YAML"),
        ("deep", front(&deep).into(), "SKILL.md:20: its front matter is not YAML that is read: it is more than 16 levels deep"),
        ("large", [front("").into_bytes(), vec![b'a'; 10 * 1024 * 1024]].concat(), "SKILL.md: it is larger than 1048576 bytes"),
        ("latin", b"---\nname: latin\ndescription: \xe9\n---\n".to_vec(), "SKILL.md:3: it is not UTF-8 text"),
        ("nameless", b"---\ndescription: d\n---\n".to_vec(), "SKILL.md: its front matter has no `name`"),
        ("repeated", front(&nested).into(), "SKILL.md:"),
        ("yaml", front("a: b: c\n").into(), "SKILL.md:4: its front matter is not YAML that is read: "),
    ];
    for (name, bytes, _) in &broken {
        world.write(&format!("home/skills/{name}/SKILL.md"), bytes);
    }
    world.skill_at("elsewhere", "outside", "", "Text.\n");
    std::fs::create_dir(world.path("home/skills/file-link")).unwrap();
    symlink(world.path("elsewhere/outside/SKILL.md"), world.path("home/skills/file-link/SKILL.md")).unwrap();
    symlink(world.path("elsewhere/outside"), world.path("home/skills/folder-link")).unwrap();
    std::fs::create_dir_all(world.path("home/skills/folder/SKILL.md")).unwrap();
    let list = json(&world, &["skill", "list"]).expect(0).json();
    assert_eq!(list["skills"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect::<Vec<_>>(), ["good"]);
    let reasons: Vec<(String, String)> = list["quarantined"]
        .as_array()
        .unwrap()
        .iter()
        .map(|q| (q["source"].as_str().unwrap().to_owned(), q["reason"].as_str().unwrap().to_owned()))
        .collect();
    let link = "it is a symbolic link, or reached through one; put the file itself there";
    let more = [
        ("file-link", format!("~/skills/file-link/SKILL.md: {link}")),
        ("folder-link", link.to_owned()),
        ("folder", "~/skills/folder/SKILL.md: it is not a regular file".to_owned()),
    ];
    let wanted = broken.iter().map(|(name, _, why)| (*name, format!("~/skills/{name}/{why}"))).chain(more);
    for (name, why) in wanted {
        let (source, reason) =
            reasons.iter().find(|(source, _)| source == &format!("~/skills/{name}")).unwrap_or_else(|| panic!("{name}: {list}"));
        assert!(reason.starts_with(&why), "{source}: {reason}");
    }
    assert_eq!(reasons.len(), 13, "{list}");
    // Others see them too, and the good one is there.
    let status = json(&world, &["status"]).expect(0).json();
    assert_eq!((&status["skills"], status["quarantined"].as_array().unwrap().len()), (&json!(1), 13));
    let error = json(&world, &["run", "--skill", "yaml", "a"]).expect(6).error();
    assert_eq!(error["kind"], "quarantined");
    assert!(error["message"].as_str().unwrap().starts_with("the skill yaml is not available: ~/skills/yaml/SKILL.md:4: "), "{error}");
    json(&world, &["run", "--skill", "good", "a"]).expect(0);
}

#[test]
fn of_one_name_the_users_own_stays_and_two_of_one_side_are_set_aside() {
    let world = own();
    world.user_config(&format!("{OWN}# \n").replace("[\"~/skills\"]", "[\"~/skills\", \"~/more\"]"));
    world.skill_at("home/skills", "one", "", "mine");
    world.skill_at("home/skills", "two", "", "first");
    world.skill_at("home/more", "two", "", "second");
    world.write("workspace/palisade.toml", "[skills]\ndirs = [\"skills\"]\n");
    world.skill_at("workspace/skills", "one", "", "theirs");
    let list = json(&world, &["--trust-workspace", "skill", "list"]).expect(0).json();
    assert_eq!((&list["skills"][0]["folder"], list["skills"].as_array().unwrap().len()), (&json!("~/skills/one"), 1));
    assert_eq!(
        list["quarantined"],
        json!([
            {"source": "skills/one", "reason": "the user's own skill has the name `one` too, and stays"},
            {"source": "two", "reason": "the skills in ~/skills/two and ~/more/two have one name, `two`; remove or rename one"},
        ])
    );
}

const READS: &str = "[capabilities]\nfs = [{ path = \"@workspace\", access = \"read\", why = \"reads what you name\" }]\n";

#[test]
fn what_a_skill_brings_passes_the_gate_as_any_plugin() {
    let world = own();
    with_guest(&world, "home/skills", "helper", "", READS);
    world.write("workspace/inside.txt", "inside");
    let read = ["call", "helper/read", "{\"path\":\"inside.txt\"}"];
    let tools = json(&world, &["tools", "--all", "read"]).expect(0).json();
    let tool = tools["tools"].as_array().unwrap().iter().find(|tool| tool["id"] == "helper/read").unwrap();
    assert_eq!((&tool["source_kind"], &tool["available"]), (&json!("skill"), &json!(false)));
    let denied = json(&world, &read).expect(3).json();
    let remedy = "palisade --profile trusted plugin grant helper fs:read:@workspace";
    assert_eq!((&denied["denial"]["rule"], &denied["denial"]["remedy"]), (&json!("grant"), &json!(remedy)));
    json(&world, &["plugin", "grant", "helper", "fs:read:@workspace", "--yes"]).expect(0);
    assert_eq!(json(&world, &read).expect(0).json()["content"][0]["text"], "inside");
    for deny in [["--deny-tool", "helper/read"], ["--deny-tool", "READ"], ["--deny-prefix", "helper/"]] {
        json(&world, &[&deny[..], &read].concat()).expect(3);
    }
    // A lock pins it, and other bytes are another plugin without the grant.
    let lock = world.palisade(&["plugin", "list", "--lock"]).expect(0).stdout;
    assert!(lock.contains("name = \"helper\""), "{lock}");
    world.write("workspace/palisade.lock", lock);
    json(&world, &read).expect(0);
    world.plugin_at("home/skills", "helper", &guest("guest"), &format!("{READS}[limits]\ntime = \"9s\"\n"));
    assert_eq!(json(&world, &read).expect(3).json()["denial"]["rule"], "pin");
    std::fs::remove_file(world.path("workspace/palisade.lock")).unwrap();
    assert_eq!(json(&world, &read).expect(3).json()["denial"]["rule"], "grant");
    // Nothing may write where it lies.
    let skills = world.path("home/skills");
    let grant = format!("helper:fs:write:{}", skills.display());
    let error = json(&world, &["--grant", &grant, "status"]).expect(2).error();
    assert!(error["message"].as_str().unwrap().contains("it may not be written: "), "{error}");
}

#[test]
fn a_component_under_another_name_or_that_of_a_plugin_or_server_is_set_aside_and_the_skill_stays() {
    let world = own();
    with_guest(&world, "home/skills", "other", "", "");
    world.write("home/skills/other/plugin.toml", "[plugin]\nname = \"different\"\nversion = \"0.1.0\"\ncomponent = \"other.wasm\"\n");
    with_guest(&world, "home/skills", "text-stats", "", "");
    with_guest(&world, "home/skills", "served", "", "");
    with_guest(&world, "home/skills", "broken", "", "");
    world.write("home/skills/broken/broken.wasm", "no component");
    world.user_config(&format!("{OWN}[mcp.served]\ncommand = \"/bin/true\"\n"));
    let stats = example("text-stats");
    let list = json(&world, &["--plugin", stats.to_str().unwrap(), "skill", "list"]).expect(0).json();
    assert_eq!(list["skills"].as_array().unwrap().len(), 4, "{list}");
    assert!(list["skills"].as_array().unwrap().iter().all(|skill| skill["tools"] == json!([])), "{list}");
    let reasons: Vec<_> = list["quarantined"].as_array().unwrap().iter().map(|q| q["reason"].as_str().unwrap().to_owned()).collect();
    let stats_at = stats.display();
    let wanted = [
        "~/skills/other/plugin.toml: `plugin.name` is different, and not the skill's name other".to_owned(),
        "~/skills/served/plugin.toml: the MCP server of ~/../config/palisade/config.toml:4 has the name `served` too".to_owned(),
        format!(
            "~/skills/text-stats/plugin.toml: the plugin in {stats_at} has the name `text-stats` too, so the skill is there without its tools; rename one"
        ),
        "~/skills/broken/broken.wasm: ".to_owned(),
    ];
    for want in &wanted {
        let want = want.split("~/../config").next().unwrap();
        assert!(reasons.iter().any(|reason| reason.starts_with(want)), "{want}: {reasons:#?}");
    }
    assert_eq!(reasons.len(), 4, "{reasons:#?}");
    // The plugin of that name is the plugin.
    json(&world, &["--plugin", stats.to_str().unwrap(), "call", "text-stats/count", "{\"text\":\"a\"}"]).expect(0);
    assert_eq!(json(&world, &["call", "other/echo", "{\"text\":\"a\"}"]).expect(6).error()["kind"], "quarantined");
}
