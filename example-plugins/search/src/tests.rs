use super::*;
use palisade_sdk::serde_json::{Value, from_str, json};
use std::fs;
use tempfile::TempDir;

fn tree(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn run(folder: &TempDir, pattern: &str, change: impl FnOnce(&mut Grep)) -> Result<Matches> {
    // Absolute guest paths are taken as they are, so the test's folder can stand for one.
    let path = Some(folder.path().to_str().unwrap().to_owned());
    let mut args = Grep { pattern: pattern.to_owned(), path, ignore_case: None, max: None };
    change(&mut args);
    grep(args).map(|Json(matches)| matches)
}

fn found(folder: &TempDir, matches: &Matches) -> Vec<(String, u64)> {
    let inside = |path: &str| Path::new(path).strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
    matches.matches.iter().map(|m| (inside(&m.path), m.line)).collect()
}

#[test]
fn lines_come_in_the_order_of_paths_with_their_numbers_and_without_white_space_around() {
    let folder = tree(&[("b.txt", b"one\n  two needle \n"), ("a/z.txt", b"needle"), ("a.txt", b"x\ny\nneedle\n")]);
    let got = run(&folder, "ne+dle", |_| ()).unwrap();
    assert_eq!(found(&folder, &got), [("a/z.txt".to_owned(), 1), ("a.txt".to_owned(), 3), ("b.txt".to_owned(), 2)]);
    assert_eq!(got.matches[2].text, "two needle");
    assert_eq!((got.files_searched, got.files_skipped, got.truncated), (3, 0, false));
}

#[test]
fn ignored_and_hidden_files_are_left_out_without_a_repository() {
    let folder = tree(&[
        (".gitignore", b"target/\n*.log\n!keep.log\n"),
        (".ignore", b"/private.txt\n"),
        ("target/a.txt", b"needle"),
        ("b.log", b"needle"),
        ("keep.log", b"needle"),
        ("private.txt", b"needle"),
        ("sub/private.txt", b"needle"),
        (".hidden", b"needle"),
    ]);
    let got = run(&folder, "needle", |_| ()).unwrap();
    assert_eq!(found(&folder, &got), [("keep.log".to_owned(), 1), ("sub/private.txt".to_owned(), 1)]);
}

#[test]
fn rules_above_the_searched_folder_count_too() {
    let folder = tree(&[
        (".gitignore", b"*.log\n/sub/deep/x.txt\n"),
        ("sub/a.log", b"needle"),
        ("sub/deep/x.txt", b"needle"),
        ("sub/x.txt", b"needle"),
    ]);
    let path = folder.path().join("sub").to_str().unwrap().to_owned();
    let got = run(&folder, "needle", |args| args.path = Some(path)).unwrap();
    assert_eq!(found(&folder, &got), [("sub/x.txt".to_owned(), 1)]);
}

#[test]
fn case_counts_unless_it_is_asked_not_to() {
    let folder = tree(&[("a.txt", "Straße\nSTRASSE\nstrasse\nÄpfel\n".as_bytes())]);
    assert_eq!(run(&folder, "strasse", |_| ()).unwrap().matches.len(), 1);
    assert_eq!(run(&folder, "strasse", |args| args.ignore_case = Some(true)).unwrap().matches.len(), 2);
    assert_eq!(run(&folder, "äpfel", |args| args.ignore_case = Some(true)).unwrap().matches.len(), 1);
}

#[test]
fn only_as_many_matches_as_asked_for_are_returned_and_it_says_so() {
    let folder = tree(&[("a.txt", b"x\nx\nx\n"), ("b.txt", b"x\n")]);
    for (max, matches, truncated) in [(2, 2, true), (3, 3, true), (4, 4, false), (9, 4, false)] {
        let got = run(&folder, "x", |args| args.max = Some(max)).unwrap();
        assert_eq!((got.matches.len(), got.truncated), (matches, truncated), "max {max}");
    }
    let many = tree(&[("a.txt", "x\n".repeat(2000).as_bytes())]);
    assert_eq!(run(&many, "x", |_| ()).unwrap().matches.len(), 100);
    assert_eq!(run(&many, "x", |args| args.max = Some(5000)).unwrap().matches.len(), 1000);
}

#[test]
fn a_binary_file_is_skipped_even_where_it_is_found_out_after_a_match() {
    let mut late = b"needle\n".repeat(20_000);
    late.push(0);
    let folder = tree(&[("a.bin", b"\0needle\n"), ("b.bin", &late), ("c.txt", b"needle\n")]);
    let got = run(&folder, "needle", |args| args.max = Some(1)).unwrap();
    assert_eq!(found(&folder, &got).len(), 1);
    let matcher = matcher("needle", false).unwrap();
    let got = search(&matcher, folder.path(), 100_000).unwrap();
    assert_eq!(found(&folder, &got), [("c.txt".to_owned(), 1)]);
    assert_eq!((got.files_searched, got.files_skipped), (1, 2));
}

#[test]
fn a_long_line_is_cut() {
    let folder = tree(&[("a.txt", "ä".repeat(5000).as_bytes())]);
    assert_eq!(run(&folder, "ä", |_| ()).unwrap().matches[0].text, "ä".repeat(300));
}

#[test]
fn a_single_file_can_be_searched_and_a_path_that_is_not_there_is_named() {
    let folder = tree(&[("a.txt", b"needle"), ("b.txt", b"needle")]);
    let path = folder.path().join("b.txt").to_str().unwrap().to_owned();
    assert_eq!(found(&folder, &run(&folder, "needle", |args| args.path = Some(path)).unwrap()), [("b.txt".to_owned(), 1)]);
    let failure = run(&folder, "needle", |args| args.path = Some("/no/such".to_owned())).unwrap_err();
    assert!(failure.message().starts_with("/no/such: "), "{}", failure.message());
}

#[test]
fn a_pattern_that_is_wrong_too_large_or_more_than_a_line_is_refused_with_a_reason() {
    let folder = tree(&[]);
    for (pattern, why) in [("(a", "unclosed group"), (r"a\nb", "not allowed"), (r"(\w{1000}){1000}", "size limit")] {
        let failure = run(&folder, pattern, |_| ()).unwrap_err();
        assert!(
            failure.message().starts_with("`pattern` is not a regular expression") && failure.message().contains(why),
            "{}",
            failure.message()
        );
    }
}

#[test]
fn the_schema_is_closed_requires_the_pattern_alone_and_describes_every_property() {
    let definition = palisade_sdk::definitions(&__palisade_tools()).remove(0);
    let schema: Value = from_str(&definition.input_schema).unwrap();
    assert_eq!((&schema["additionalProperties"], &schema["required"]), (&json!(false), &json!(["pattern"])));
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(properties.keys().collect::<Vec<_>>(), ["pattern", "path", "ignore_case", "max"]);
    assert!(properties.values().all(|p| p["description"].is_string()), "{schema}");
    assert_eq!((&properties["max"]["minimum"], &properties["max"]["maximum"]), (&json!(1), &json!(1000)));
}
