//! Skills over MCP: prompts and resources of what was there when it was loaded, and nothing else.

use palisade_tests::stdio::Server;
use palisade_tests::{World, guest};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

const PROMPTS: &str = "notifications/prompts/list_changed";
const RESOURCES: &str = "notifications/resources/list_changed";

/// The user's own skills, in `~/skills`.
fn own() -> World {
    let world = World::new();
    world.user_config("profile = \"trusted\"\n[skills]\ndirs = [\"~/skills\"]\n");
    world
}

fn prompts(server: &mut Server) -> Vec<String> {
    let listed = server.ask("prompts/list", &json!({})).unwrap();
    listed["prompts"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
}

fn uris(server: &mut Server) -> Vec<String> {
    let listed = server.ask("resources/list", &json!({})).unwrap();
    listed["resources"].as_array().unwrap().iter().map(|r| r["uri"].as_str().unwrap().to_owned()).collect()
}

fn read(server: &mut Server, uri: &str) -> Value {
    server.ask("resources/read", &json!({"uri": uri})).unwrap()["contents"][0].clone()
}

#[test]
fn a_skill_is_a_prompt_and_its_files_are_resources() {
    let world = own();
    world.skill_at("home/skills", "helper", "license: MIT\nallowed-tools: a/b\n", "# Do\u{1b}[31m it\u{202e}\n");
    world.skill_at("home/skills", "Ein Name", "", "Other.\n");
    world.write("home/skills/helper/references/a b.md", "more\u{202e}\n");
    world.write("home/skills/helper/image.bin", [0u8, 159, 146, 150]);
    let mut server = Server::start(&world, &["serve"]);
    let listed = server.ask("prompts/list", &json!({})).unwrap();
    assert_eq!(
        listed["prompts"],
        json!([
            {"name": "Ein Name", "description": "Says what Ein Name does."},
            {"name": "helper", "description": "Says what helper does."},
        ])
    );
    let prompt = server.ask("prompts/get", &json!({"name": "helper"})).unwrap();
    let text = "[from the skill helper in ~/skills/helper/SKILL.md]\n\n# Do it";
    assert_eq!(
        prompt,
        json!({
            "description": "Says what helper does.",
            "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
        })
    );
    let size = |file: &str| std::fs::metadata(world.path("home/skills").join(file)).unwrap().len();
    let resources = server.ask("resources/list", &json!({})).unwrap();
    let resource = |uri: &str, name: &str, mime: Value, description: Value| {
        let mut resource = json!({"uri": uri, "name": name, "mimeType": mime, "description": description, "size": size(name)});
        resource.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        resource
    };
    assert_eq!(
        resources["resources"],
        json!([
            resource("skill://Ein%20Name/SKILL.md", "Ein Name/SKILL.md", json!("text/markdown"), json!("Says what Ein Name does.")),
            resource("skill://helper/SKILL.md", "helper/SKILL.md", json!("text/markdown"), json!("Says what helper does.")),
            resource("skill://helper/image.bin", "helper/image.bin", Value::Null, Value::Null),
            resource("skill://helper/references/a%20b.md", "helper/references/a b.md", json!("text/markdown"), Value::Null),
        ])
    );
    let uri = "skill://helper/references/a%20b.md";
    assert_eq!(read(&mut server, uri), json!({"uri": uri, "mimeType": "text/markdown", "text": "more\n"}));
    let uri = "skill://helper/image.bin";
    assert_eq!(read(&mut server, uri), json!({"uri": uri, "mimeType": "application/octet-stream", "blob": "AJ+Slg=="}));
    // The extension lists those whose names it takes.
    let skills = server.ask("skills/list", &json!({})).unwrap();
    let front = json!({"name": "helper", "description": "Says what helper does.", "license": "MIT", "allowed-tools": "a/b"});
    let entry = json!({"uri": "skill://helper/SKILL.md", "frontmatter": front, "resources": "dynamic"});
    assert_eq!(skills["skills"], json!([entry]));
    assert_eq!(server.ask("skills/get", &json!({"uri": "skill://helper/SKILL.md"})).unwrap()["skill"], entry);
    // What is no prompt and no skill is an error.
    assert_eq!(server.ask("prompts/get", &json!({"name": "none"})).unwrap(), Value::Null);
    assert_eq!(server.ask("skills/get", &json!({"uri": "skill://none/SKILL.md"})).unwrap(), Value::Null);
}

#[test]
fn no_resource_leaves_the_folder_of_its_skill() {
    let world = own();
    let skill = world.skill_at("home/skills", "helper", "", "Text.\n");
    world.write("home/secret.txt", "secret");
    world.write("home/outside/in.txt", "secret");
    world.write("home/skills/helper/.env", "secret");
    world.write("home/skills/helper/large.txt", vec![b'a'; 1024 * 1024 + 1]);
    world.write("home/skills/helper/a/b/c/d/e/f/g/seven.txt", "seven");
    world.write("home/skills/helper/a/b/c/d/e/f/g/h/eight.txt", "eight");
    world.write("home/skills/helper/b\u{202e}idi\n.md", "dirty");
    symlink(world.path("home/secret.txt"), skill.join("link.txt")).unwrap();
    symlink(world.path("home/outside"), skill.join("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, skill.join("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let shown = world.palisade(&["--format", "json", "skill", "show", "helper"]).expect(0).json();
    let link = "it is a symbolic link, or reached through one; put the file itself there";
    let notes: Vec<&str> = shown["notes"].as_array().unwrap().iter().map(|note| note["what"].as_str().unwrap()).collect();
    assert_eq!(
        notes,
        [
            "a/b/c/d/e/f/g/h is not offered: it is more than 8 folders deep",
            "bidi .md is not offered: its name is too long, or hides characters",
            "fifo is not offered: it is not a regular file",
            &format!("folder is not offered: {link}"),
            "large.txt is not offered: it is larger than 1048576 bytes",
            &format!("link.txt is not offered: {link}"),
        ]
    );
    let mut server = Server::start(&world, &["serve"]);
    assert_eq!(uris(&mut server), ["skill://helper/SKILL.md", "skill://helper/a/b/c/d/e/f/g/seven.txt"]);
    // One that is exchanged for a link after it was listed is not followed.
    let seven = skill.join("a/b/c/d/e/f/g/seven.txt");
    assert_eq!(read(&mut server, "skill://helper/a/b/c/d/e/f/g/seven.txt")["text"], "seven");
    std::fs::remove_file(&seven).unwrap();
    symlink(world.path("home/secret.txt"), &seven).unwrap();
    for uri in [
        "skill://helper/a/b/c/d/e/f/g/seven.txt",
        "skill://helper/link.txt",
        "skill://helper/folder/in.txt",
        "skill://helper/.env",
        "skill://helper/../../secret.txt",
        "skill://helper/%2e%2e/%2e%2e/secret.txt",
        "skill://helper/..%2f..%2fsecret.txt",
        "skill://helper//etc/passwd",
        "skill://helper/large.txt",
        "skill://none/SKILL.md",
        "file:///etc/passwd",
        "skill://helper",
    ] {
        assert_eq!(server.ask("resources/read", &json!({"uri": uri})).unwrap(), Value::Null, "{uri}");
    }
}

#[test]
fn many_files_come_page_by_page_and_no_more_than_a_thousand_of_a_skill() {
    let world = own();
    world.skill_at("home/skills", "third", "", "Text.\n");
    for number in 0..10_001 {
        let folder = format!("home/skills/third/{}", number / 1001);
        std::fs::create_dir_all(world.path(&folder)).unwrap();
        symlink("x", world.path(&format!("{folder}/{number}"))).unwrap();
    }
    let shown = world.palisade(&["--format", "json", "skill", "show", "third"]).expect(0).json();
    let notes: Vec<&str> = shown["notes"].as_array().unwrap().iter().map(|note| note["what"].as_str().unwrap()).collect();
    assert_eq!((notes.len(), notes[20]), (22, "no more than 10000 entries of its folders are looked at"));
    assert!(notes[21].ends_with(" more files are not offered"), "{notes:?}");
    std::fs::remove_dir_all(world.path("home/skills/third")).unwrap();
    for name in ["first", "second"] {
        world.skill_at("home/skills", name, "", "Text.\n");
        for number in 0..1005 {
            std::fs::write(world.path(&format!("home/skills/{name}/0{number:04}")), "").unwrap();
        }
    }
    let mut server = Server::start(&world, &["serve"]);
    let first = server.ask("resources/list", &json!({})).unwrap();
    assert_eq!(first["resources"].as_array().unwrap().len(), 1000);
    assert_eq!(first["resources"][999]["uri"], "skill://first/SKILL.md", "it is sorted, and there");
    let second = server.ask("resources/list", &json!({"cursor": first["nextCursor"]})).unwrap();
    assert_eq!((second["resources"].as_array().unwrap().len(), &second["nextCursor"]), (1000, &Value::Null));
    assert_eq!(server.ask("resources/list", &json!({"cursor": "x"})).unwrap(), Value::Null);
}

#[test]
fn without_skills_neither_prompts_nor_resources_are_announced() {
    let client = json!({"name": "test", "version": "1"});
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    for (world, offers) in [(World::new(), false), (own(), true)] {
        world.skill_at("home/skills", "helper", "", "Text.\n");
        let mut server = Server::start(&world, &["serve"]);
        let capabilities = server.ask("initialize", &hello).unwrap()["capabilities"].clone();
        let mut wanted = json!({"tools": {"listChanged": true}});
        if offers {
            wanted["prompts"] = json!({"listChanged": true});
            wanted["resources"] = json!({"listChanged": true});
            wanted["extensions"] = json!({"io.modelcontextprotocol/skills": {}});
        }
        assert_eq!(capabilities, wanted);
        // Nor is there a method to ask for them.
        for method in ["prompts/list", "resources/list"] {
            assert_eq!(server.ask(method, &json!({})).unwrap().is_object(), offers, "{method}");
        }
    }
}

#[test]
fn skills_that_change_while_they_are_served_are_told_of() {
    let world = own();
    world.skill_at("home/skills", "helper", "", "Text.\n");
    let mut server = Server::start(&world, &["serve"]);
    assert_eq!(prompts(&mut server), ["helper"]);
    world.skill_at("home/skills", "another", "", "Text.\n");
    server.hears(PROMPTS);
    assert_eq!(prompts(&mut server), ["another", "helper"]);
    world.write("home/skills/helper/references/deep/new.md", "new");
    server.hears(RESOURCES);
    assert_eq!(read(&mut server, "skill://helper/references/deep/new.md")["text"], "new");
    // In a folder that is there already, too.
    world.write("home/skills/helper/references/deep/newer.md", "newer");
    server.hears(RESOURCES);
    assert_eq!(read(&mut server, "skill://helper/references/deep/newer.md")["text"], "newer");
    world.skill_at("home/skills", "helper", "", "Other text.\n");
    server.hears(PROMPTS);
    assert_eq!(
        server.ask("prompts/get", &json!({"name": "helper"})).unwrap()["messages"][0]["content"]["text"].as_str().unwrap().lines().last(),
        Some("Other text.")
    );
    std::fs::remove_dir_all(world.path("home/skills/another")).unwrap();
    server.hears(PROMPTS);
    assert_eq!(prompts(&mut server), ["helper"]);
}

#[test]
fn what_a_workspace_changes_in_its_skills_only_takes_away() {
    let world = own();
    world.skill_at("home/skills", "mine", "", "Text.\n");
    world.write("workspace/palisade.toml", "[skills]\ndirs = [\"skills\"]\n");
    world.skill_at("workspace/skills", "theirs", "", "Text.\n");
    world.plugin_at("workspace/skills", "theirs", &guest("guest"), "");
    let file = world.write("workspace/skills/theirs/more.md", "more");
    world.palisade(&["trust", "--yes"]).expect(0);
    let mut server = Server::start(&world, &["serve"]);
    assert_eq!(prompts(&mut server), ["mine", "theirs"]);
    assert_eq!(server.call("theirs__counter", &json!({})), "1");
    assert_eq!(read(&mut server, "skill://theirs/more.md")["text"], "more");
    // At once, before anybody looked at the files again: these are not the bytes that were trusted.
    std::fs::write(&file, "evil").unwrap();
    assert_eq!(server.ask("resources/read", &json!({"uri": "skill://theirs/more.md"})).unwrap(), Value::Null);
    server.hears(PROMPTS);
    assert_eq!(prompts(&mut server), ["mine"]);
    assert_eq!(server.call("theirs__counter", &json!({})), "theirs/counter was denied by the rule trust (denial 1)");
    // A new one in the workspace is nobody's until it is trusted.
    world.skill_at("workspace/skills", "new", "", "Text.\n");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(prompts(&mut server), ["mine"]);
    world.palisade(&["trust", "--yes"]).expect(0);
    server.hears(PROMPTS);
    assert_eq!(prompts(&mut server), ["mine", "new", "theirs"]);
    // Broken, the workspace's file takes its skills with it.
    world.write("workspace/palisade.toml", "grants = [\"a\"]\n");
    server.hears(PROMPTS);
    assert_eq!((prompts(&mut server), uris(&mut server)), (vec!["mine".to_owned()], vec!["skill://mine/SKILL.md".to_owned()]));
}
