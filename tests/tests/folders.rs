//! Granted folders: no path, link or special file leads out of one or changes one that is granted for reading, and the operator
//! reads what was refused and why.
//!
//! Each step goes to the host as it is written here: no library of the guest reads its paths before.

use palisade_tests::{Answer, World, guest};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;

/// A grant on `/workspace/docs` to read it, and one on `/workspace/out` to write it.
const GRANTS: [&str; 2] = ["guest:fs:read:@workspace/docs", "guest:fs:write:@workspace/out"];
const ASKS: &str = r#"[capabilities]
fs = [
    { path = "@workspace/docs", access = "read", optional = true, why = "tests" },
    { path = "@workspace/out", access = "write", optional = true, why = "tests" },
]
"#;

/// A world with both folders, a file in each, and a secret beside the workspace.
fn world(manifest: &str) -> World {
    let world = World::new();
    world.plugin("guest", &guest("guest"), manifest);
    world.write("secret.txt", "secret");
    world.write("workspace/top.txt", "top");
    world.write("workspace/docs/a.txt", "a");
    world.write("workspace/docs/sub/deep.txt", "deep");
    world.write("workspace/out/own.txt", "own");
    world.write("workspace/out/sub/own.txt", "own");
    world
}

/// What a guest with these grants gets of its steps, one line for each.
fn steps(world: &World, grants: &[&str], steps: &[&str]) -> (Vec<String>, Answer) {
    let mut args: Vec<&str> = grants.iter().flat_map(|grant| ["--grant", grant]).collect();
    let arguments = json!({ "steps": steps }).to_string();
    args.extend(["call", "guest/steps", &arguments]);
    let answer = world.trusted(&args).expect(0);
    let got: Vec<String> = answer.json()["content"][0]["text"].as_str().expect("text").lines().map(str::to_owned).collect();
    assert_eq!(got.len(), steps.len(), "{got:?}");
    (got, answer)
}

/// Every file and link below a folder of the world, with what tells whether it changed.
fn state(world: &World, below: &str) -> BTreeMap<String, (Vec<u8>, u64, i64, i64)> {
    let one = |file: String| {
        let path = world.path(&file);
        let about = std::fs::symlink_metadata(&path).expect("it is there");
        let holds = if about.is_file() { std::fs::read(&path).expect("a file is readable") } else { Vec::new() };
        (file, (holds, about.nlink(), about.mtime(), about.mtime_nsec()))
    };
    world.files().into_iter().filter(|file| file.starts_with(below)).map(one).collect()
}

/// Everything but what a write grant may change.
fn outside(world: &World) -> BTreeMap<String, (Vec<u8>, u64, i64, i64)> {
    let mut all = state(world, "workspace/");
    all.extend(state(world, "secret.txt"));
    all.retain(|file, _| !file.starts_with("workspace/out/"));
    all
}

/// Takes steps of which each is refused as not permitted, with nothing changed outside; a call for every few, because the
/// operator reads of a few a call. After each step stands what the operator reads.
fn all_refused(world: &World, grants: &[&str], given: &[(&str, &str)]) {
    let before = outside(world);
    for few in given.chunks(4) {
        let (got, answer) = steps(world, grants, &few.iter().map(|(step, _)| *step).collect::<Vec<_>>());
        for (got, (step, told)) in got.iter().zip(few) {
            assert_eq!(got, "not-permitted", "{step}");
            let line = format!("guest/steps: {told}\n");
            assert!(answer.stderr.contains(&line), "{step}: {line}{}", answer.stderr);
        }
    }
    assert_eq!(outside(world), before);
}

fn leaves(doing: &str, path: &str, folder: &str) -> String {
    format!("{doing} `{path}` in {folder} was refused: it leads out of the folder")
}

fn borrowed(given: &[(String, String)]) -> Vec<(&str, &str)> {
    given.iter().map(|(step, told)| (step.as_str(), told.as_str())).collect()
}

#[test]
fn a_link_out_of_a_grant_that_somebody_made_is_followed_by_no_operation() {
    let world = world(ASKS);
    std::fs::create_dir(world.path("beside")).unwrap();
    world.write("beside/kept.txt", "kept");
    let absolute = |below: &str| world.path(below);
    for folder in ["docs", "out"] {
        let at = |name: &str| world.path(&format!("workspace/{folder}/{name}"));
        symlink("../../secret.txt", at("relative")).unwrap();
        symlink(absolute("secret.txt"), at("absolute")).unwrap();
        symlink("../../beside", at("folder")).unwrap();
        symlink("../../new.txt", at("nowhere")).unwrap();
        symlink("relative", at("twice")).unwrap();
    }
    let mut given = Vec::new();
    for link in ["relative", "absolute", "twice", "folder/kept.txt"] {
        for (step, doing) in [("read", "opening"), ("stat", "looking at"), ("hash", "looking at")] {
            for folder in ["/workspace/docs", "/workspace/out"] {
                given.push((format!("{step} {folder} {link}"), leaves(doing, link, folder)));
            }
        }
        for (step, doing) in [("write", "writing"), ("create", "writing"), ("truncate", "writing"), ("times", "setting the times of")] {
            given.push((format!("{step} /workspace/out {link}"), leaves(doing, link, "/workspace/out")));
        }
    }
    for (step, doing, path) in [
        ("create", "writing", "nowhere"),
        ("create", "writing", "folder/new.txt"),
        ("mkdir", "making the folder", "folder/new"),
        ("unlink", "removing", "folder/kept.txt"),
        ("rmdir", "removing", "folder/"),
        ("open-here", "opening", "folder/"),
        ("times-here", "setting the times of", "folder/kept.txt"),
        ("readlink", "reading the link", "absolute"),
        ("readlink", "reading the link", "folder/kept.txt"),
    ] {
        given.push((format!("{step} /workspace/out {path}"), leaves(doing, path, "/workspace/out")));
    }
    given.push(("symlink /workspace/out folder/new own.txt".to_owned(), leaves("making the link", "folder/new", "/workspace/out")));
    for (step, doing) in [("link", "linking"), ("rename", "renaming")] {
        let out = "/workspace/out";
        given.push((format!("{step} {out} folder/kept.txt {out} taken"), leaves(doing, "folder/kept.txt", out)));
        given.push((format!("{step} {out} own.txt {out} folder/put"), leaves(doing, "folder/put", out)));
    }
    let before = state(&world, "beside/");
    all_refused(&world, &GRANTS, &borrowed(&given));
    assert_eq!(state(&world, "beside/"), before);
    assert!(!world.path("new.txt").exists() && !world.path("workspace/out/taken").exists());
}

#[test]
fn a_link_that_a_guest_makes_itself_leads_it_nowhere() {
    let world = world(ASKS);
    let before = outside(&world);
    let secret = world.path("secret.txt").display().to_string();
    let (got, answer) = steps(
        &world,
        &GRANTS,
        &[
            // An absolute one could lead astray whoever comes after.
            &format!("symlink /workspace/out absolute {secret}"),
            "symlink /workspace/out relative ../../secret.txt",
            "read /workspace/out relative",
            "create /workspace/out relative",
            // It points into the folder until it is moved up.
            "symlink /workspace/out sub/moved ../../top.txt",
            "rename /workspace/out sub/moved /workspace/out moved",
            "read /workspace/out moved",
            "symlink /workspace/out docs ../docs",
            "create /workspace/out docs/a.txt",
            "link-follow /workspace/out relative /workspace/out linked",
            // Of the link itself, which stays a link.
            "link /workspace/out relative /workspace/out linked",
            "write /workspace/out linked",
            "symlink /workspace/out within own.txt",
            "read /workspace/out within",
        ],
    );
    let refused = "not-permitted";
    let expected = [refused, "done", refused, refused, "done", "done", refused, "done", refused, "invalid", "done", refused, "done", "own"];
    assert_eq!(got, expected);
    assert!(!world.path("workspace/out/absolute").is_symlink());
    assert_eq!(outside(&world), before);
    for told in [leaves("making the link", "absolute", "/workspace/out"), leaves("opening", "relative", "/workspace/out")] {
        assert!(answer.stderr.contains(&told), "{told}\n{}", answer.stderr);
    }
}

#[test]
fn a_fifo_a_socket_and_a_device_are_neither_opened_nor_waited_for() {
    let asks = format!(
        "{}    {{ path = \"/dev\", access = \"read\", mount = \"/devices\", optional = true, why = \"tests\" }},\n]\n",
        ASKS.trim_end().trim_end_matches(']')
    );
    let world = world(&asks);
    let listener = UnixListener::bind(world.path("workspace/out/socket")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let fifo = world.path("workspace/out/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    symlink("fifo", world.path("workspace/out/to-fifo")).unwrap();
    let mut given = Vec::new();
    let special = |doing: &str, path: &str| format!("{doing} `{path}` in /workspace/out was refused: it is a FIFO or a socket");
    for path in ["socket", "fifo", "to-fifo"] {
        for (step, doing) in [
            ("read", "opening"),
            ("write", "writing"),
            ("create", "writing"),
            ("truncate", "writing"),
            // To set the times of what a path leads to, the engine would open it.
            ("times", "setting the times of"),
        ] {
            given.push((format!("{step} /workspace/out {path}"), special(doing, path)));
        }
    }
    for path in ["socket", "fifo"] {
        given.push((format!("open-here /workspace/out {path}"), special("opening", path)));
    }
    for path in ["null", "zero"] {
        for step in ["read", "open-here"] {
            given.push((format!("{step} /devices {path}"), format!("opening `{path}` in /devices was refused: it is a device")));
        }
    }
    all_refused(&world, &[&GRANTS[..], &["guest:fs:read:/dev"]].concat(), &borrowed(&given));
    assert!(listener.accept().is_err(), "nobody connected to it");
}

#[test]
fn a_file_granted_for_reading_cannot_be_linked_or_moved_to_where_it_may_be_written() {
    let world = world(ASKS);
    let read_only = |doing: &str, path: &str| {
        format!(
            "{doing} `{path}` in /workspace/docs was refused: it is granted for reading; no grant allows more, because its plugin.toml does not ask to `write` there"
        )
    };
    all_refused(
        &world,
        &GRANTS,
        &[
            ("link /workspace/docs a.txt /workspace/out b.txt", &read_only("linking", "a.txt")),
            ("rename /workspace/docs a.txt /workspace/out b.txt", &read_only("renaming", "a.txt")),
            ("link /workspace/out own.txt /workspace/docs b.txt", &read_only("making the link", "b.txt")),
            ("rename /workspace/out own.txt /workspace/docs b.txt", &read_only("renaming to", "b.txt")),
            // Over one that is there, and a whole folder.
            ("rename /workspace/out own.txt /workspace/docs a.txt", &read_only("renaming to", "a.txt")),
            ("rename /workspace/docs sub /workspace/out sub2", &read_only("renaming", "sub")),
            ("link /workspace/docs a.txt /workspace/docs b.txt", &read_only("linking", "a.txt")),
            ("rename /workspace/docs a.txt /workspace/docs b.txt", &read_only("renaming", "a.txt")),
        ],
    );
    assert_eq!(std::fs::read_dir(world.path("workspace/out")).unwrap().count(), 2);
    assert_eq!(std::fs::read_to_string(world.path("workspace/out/own.txt")).unwrap(), "own");
}

#[test]
fn nothing_in_a_folder_granted_for_reading_is_changed_in_any_way() {
    let world = world(ASKS);
    symlink("a.txt", world.path("workspace/docs/link")).unwrap();
    std::fs::create_dir(world.path("workspace/docs/empty")).unwrap();
    let told = |doing: &str, path: &str| {
        format!(
            "{doing} `{path}` in /workspace/docs was refused: it is granted for reading; no grant allows more, because its plugin.toml does not ask to `write` there"
        )
    };
    let mut given = Vec::new();
    for (step, doing, path) in [
        ("write", "writing", "a.txt"),
        ("create", "writing", "new.txt"),
        ("create", "writing", "sub/deep.txt"),
        ("truncate", "writing", "link"),
        ("times", "setting the times of", "a.txt"),
        ("times-here", "setting the times of", "link"),
        ("mkdir", "making the folder", "new"),
        ("rmdir", "removing", "empty"),
        ("unlink", "removing", "a.txt"),
        ("unlink", "removing", "link"),
        ("symlink", "making the link", "new"),
        // Through a descriptor that was opened to read.
        ("opened-write", "writing", "a.txt"),
        ("opened-stream", "writing", "sub/deep.txt"),
        ("opened-append", "writing", "a.txt"),
        ("opened-size", "setting the size of", "a.txt"),
        ("opened-times", "setting the times of", "sub"),
    ] {
        given.push((format!("{step} /workspace/docs {path} a.txt"), told(doing, path)));
    }
    given.push(("below-write /workspace/docs sub new.txt".to_owned(), told("writing", "sub/new.txt")));
    // One by one: two of them are told in the same words, and the operator reads them once.
    for (step, told) in borrowed(&given) {
        all_refused(&world, &GRANTS, &[(step, told)]);
    }
    assert!(world.path("workspace/docs/empty").is_dir());
}

#[test]
fn of_overlapping_grants_each_holds_for_what_goes_through_it() {
    let asks = ASKS.replace("@workspace/docs", "@workspace");
    let world = world(&asks);
    symlink("../top.txt", world.path("workspace/out/up")).unwrap();
    let grants = ["guest:fs:read:@workspace", "guest:fs:write:@workspace/out"];
    let before = outside(&world);
    let (got, _) = steps(
        &world,
        &grants,
        &[
            "read /workspace out/own.txt",
            // Within the read grant, and out of the other.
            "read /workspace out/up",
            "read /workspace/out up",
            "create /workspace/out mine.txt",
        ],
    );
    assert_eq!(got, ["own", "top", "not-permitted", "done"]);
    let through =
        |doing: &str, path: &str, rest: &str| format!("{doing} `{path}` in /workspace was refused: it is granted for reading; {rest}");
    let never = "no grant allows more, because its plugin.toml does not ask to `write` there";
    let elsewhere = "it may be changed through /workspace/out";
    let out = "/workspace/out";
    all_refused(
        &world,
        &grants,
        &[
            ("write /workspace out/own.txt", &through("writing", "out/own.txt", elsewhere)),
            ("create /workspace out/new.txt", &through("writing", "out/new.txt", elsewhere)),
            ("unlink /workspace out/own.txt", &through("removing", "out/own.txt", elsewhere)),
            ("write /workspace out/../top.txt", &through("writing", "out/../top.txt", never)),
            ("opened-size /workspace out/own.txt", &through("setting the size of", "out/own.txt", elsewhere)),
            ("below-write /workspace out own.txt", &through("writing", "out/own.txt", elsewhere)),
            ("write /workspace top.txt", &through("writing", "top.txt", never)),
            ("rename /workspace top.txt /workspace/out top.txt", &through("renaming", "top.txt", never)),
            ("link /workspace out/own.txt /workspace/out own2.txt", &through("linking", "out/own.txt", elsewhere)),
            ("write /workspace/out ../top.txt", &leaves("writing", "../top.txt", out)),
            ("create /workspace/out ../new.txt", &leaves("writing", "../new.txt", out)),
            ("unlink /workspace/out ../top.txt", &leaves("removing", "../top.txt", out)),
            ("rename /workspace/out own.txt /workspace/out ../own.txt", &leaves("renaming", "../own.txt", out)),
            ("link /workspace/out ../top.txt /workspace/out top.txt", &leaves("linking", "../top.txt", out)),
            ("write /workspace/out up", &leaves("writing", "up", out)),
            ("below-write /workspace/out sub ../../top.txt", &leaves("writing", "sub/../../top.txt", out)),
        ],
    );
    assert_eq!(outside(&world), before);
    assert_eq!(std::fs::read_to_string(world.path("workspace/out/own.txt")).unwrap(), "own");
}

#[test]
fn dots_lead_up_to_the_granted_folder_and_no_further() {
    let world = world(ASKS);
    let mut given = Vec::new();
    for path in ["..", "../", "../docs/a.txt", "sub/../../top.txt", "./../../secret.txt", "/workspace/docs/a.txt", "/", "sub/../.."] {
        given.push((format!("read /workspace/docs {path}"), leaves("opening", path, "/workspace/docs")));
        given.push((format!("create /workspace/out {path}"), leaves("writing", path, "/workspace/out")));
    }
    for (step, doing) in [("mkdir", "making the folder"), ("rmdir", "removing"), ("unlink", "removing"), ("times", "setting the times of")]
    {
        given.push((format!("{step} /workspace/out ../new"), leaves(doing, "../new", "/workspace/out")));
    }
    // A folder that was opened is no way up either.
    given.push(("below-read /workspace/docs sub ../a.txt".to_owned(), leaves("opening", "sub/../a.txt", "/workspace/docs")));
    all_refused(&world, &GRANTS, &borrowed(&given));
    assert!(!world.path("workspace/new").exists());
    let (got, answer) = steps(&world, &GRANTS, &["read /workspace/docs sub/../a.txt", "read /workspace/docs ./sub/./deep.txt"]);
    assert_eq!(got, ["a", "deep"]);
    assert!(!answer.stderr.contains("refused"), "{}", answer.stderr);
}

#[test]
fn slashes_dangling_links_and_loops_are_ordinary_errors_that_nobody_is_told_of() {
    let world = world(ASKS);
    let at = |name: &str| world.path(&format!("workspace/out/{name}"));
    symlink("gone", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    symlink("pong", at("ping")).unwrap();
    symlink("ping", at("pong")).unwrap();
    symlink("sub", at("folder")).unwrap();
    let before = outside(&world);
    let given = [
        ("read /workspace/out own.txt/", "not-directory"),
        ("write /workspace/out own.txt/", "not-directory"),
        ("unlink /workspace/out own.txt/", "not-directory"),
        ("read /workspace/out folder/own.txt", "own"),
        ("read /workspace/out dangling", "no-entry"),
        ("stat /workspace/out dangling", "no-entry"),
        ("times /workspace/out dangling", "no-entry"),
        ("read /workspace/out loop", "loop"),
        ("create /workspace/out loop", "loop"),
        ("times /workspace/out loop", "loop"),
        ("read /workspace/out ping/x", "loop"),
        ("open-here /workspace/out dangling", "loop"),
        ("readlink /workspace/out dangling", "gone"),
        ("read /workspace/out none.txt", "no-entry"),
        ("mkdir /workspace/out sub", "exist"),
        ("rmdir /workspace/out sub", "not-empty"),
    ];
    let (got, answer) = steps(&world, &GRANTS[1..], &given.map(|(step, _)| step));
    for (got, (step, expected)) in got.iter().zip(given) {
        assert_eq!(got, expected, "{step}");
    }
    assert!(!answer.stderr.contains("refused"), "{}", answer.stderr);
    assert!(!at("gone").exists());
    assert_eq!(outside(&world), before);
    // What is made through a dangling link is made where it points, below.
    assert_eq!(steps(&world, &GRANTS, &["create /workspace/out dangling"]).0, ["done"]);
    assert_eq!(std::fs::read_to_string(at("gone")).unwrap(), "changed");
}

#[test]
fn the_hosts_own_process_is_reached_neither_by_a_path_nor_by_a_link() {
    let world = world(ASKS);
    symlink("/proc/self", world.path("workspace/docs/self")).unwrap();
    let up = "../".repeat(20);
    symlink(format!("{up}proc/self"), world.path("workspace/docs/up")).unwrap();
    let mut given = Vec::new();
    for path in ["/proc/self/environ", "self", "self/environ", "self/fd/0", "up/environ", &format!("{up}proc/self/environ")] {
        given.push((format!("read /workspace/docs {path}"), leaves("opening", path, "/workspace/docs")));
        given.push((format!("stat /workspace/docs {path}"), leaves("looking at", path, "/workspace/docs")));
    }
    given.push(("readlink /workspace/docs self".to_owned(), leaves("reading the link", "self", "/workspace/docs")));
    given.push(("symlink /workspace/out made /proc/self/mem".to_owned(), leaves("making the link", "made", "/workspace/out")));
    all_refused(&world, &GRANTS, &borrowed(&given));
    let (got, _) = steps(
        &world,
        &GRANTS,
        &[
            &format!("symlink /workspace/out made {up}proc/self/mem"),
            "write /workspace/out made",
            "read /workspace/out made",
            "times /workspace/out made",
        ],
    );
    assert_eq!(got, ["done", "not-permitted", "not-permitted", "not-permitted"]);
    for grant in ["guest:fs:read:/proc/self", "guest:fs:write:/proc/self/task", "guest:fs:read:/proc"] {
        let error = world.trusted(&["--grant", grant, "call", "guest/counter"]).expect(2).error();
        assert!(error["message"].as_str().unwrap().contains("it lies inside /proc"), "{grant}: {error}");
    }
}

#[test]
fn the_operator_reads_the_grant_that_would_allow_a_change_if_the_plugin_asks_for_it() {
    let told = |manifest: &str, grants: &[&str], step: &str| {
        let world = world(manifest);
        let (got, answer) = steps(&world, grants, &[step]);
        assert_eq!(got, ["not-permitted"]);
        assert_eq!(std::fs::read_to_string(world.path("workspace/out/own.txt")).unwrap(), "own");
        let line = answer.stderr.lines().find_map(|line| line.strip_prefix("guest/steps: ").filter(|line| line.contains(" was refused")));
        line.unwrap_or_else(|| panic!("{}", answer.stderr)).to_owned()
    };
    let sentence = |path: &str, folder: &str| format!("writing `{path}` in {folder} was refused: it is granted for reading; to allow it: ");
    let grant = "--grant guest:fs:write:@workspace/out";
    // The folder itself, and one below what it asks for.
    let read = ["guest:fs:read:@workspace/out"];
    assert_eq!(told(ASKS, &read, "write /workspace/out own.txt"), sentence("own.txt", "/workspace/out") + grant);
    let wide = r#"[capabilities]
fs = [{ path = "@workspace", access = "write", optional = true, why = "tests" }]
"#;
    assert_eq!(told(wide, &read, "write /workspace/out own.txt"), sentence("own.txt", "/workspace/out") + grant);
    // What lies below what is granted, where the plugin asks to write that part alone.
    let part = ASKS.replace("@workspace/docs", "@workspace");
    let whole = ["guest:fs:read:@workspace"];
    assert_eq!(told(&part, &whole, "write /workspace out/own.txt"), sentence("out/own.txt", "/workspace") + grant);
    // A text from outside is shown cleaned.
    let dirty = "write /workspace/out own\u{1b}[31m\u{202e}.txt";
    assert_eq!(told(wide, &read, dirty), sentence("own.txt", "/workspace/out") + grant);
}

#[test]
fn of_many_refusals_in_one_call_the_operator_reads_a_few_and_how_many_more() {
    let world = world(ASKS);
    let many: Vec<String> = (0..10).map(|i| format!("read /workspace/docs ../{i}")).collect();
    let again = many.iter().chain(&many[..1]).map(String::as_str).collect::<Vec<_>>();
    let (got, answer) = steps(&world, &GRANTS, &again);
    assert!(got.iter().all(|got| got == "not-permitted"), "{got:?}");
    assert_eq!(answer.stderr.matches("it leads out of the folder").count(), 4, "{}", answer.stderr);
    assert!(answer.stderr.contains("guest/steps: 6 more were refused\n"), "{}", answer.stderr);
}
