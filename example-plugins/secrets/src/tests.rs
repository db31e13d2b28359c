use super::*;
use palisade_sdk::serde_json::{Value, from_str, json};
use std::fs;
use tempfile::TempDir;

// Joined at run time: written out, it would look like a credential to every other scanner.
fn key() -> String {
    ["AKIA", "IOSFODNN7EXAMPLE"].concat()
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn run(folder: &TempDir) -> Findings {
    let path = Some(folder.path().to_str().unwrap().to_owned());
    scan(Scan { path }).unwrap().0
}

fn paths(folder: &TempDir, findings: &Findings) -> Vec<(String, u64)> {
    let inside = |path: &str| Path::new(path).strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
    findings.findings.iter().map(|f| (inside(&f.path), f.line)).collect()
}

#[test]
fn findings_come_in_the_order_of_paths_and_lines_and_show_only_how_a_secret_starts() {
    let value = ["c0rrect-horse", "-battery"].concat();
    let folder = folder(&[("b.py", &format!("\n\npassword = '{value}' # {}\n\n{}", key(), key())), ("a/z.txt", &key())]);
    let got = run(&folder);
    assert_eq!(paths(&folder, &got), [("a/z.txt".to_owned(), 1), ("b.py".to_owned(), 3), ("b.py".to_owned(), 3), ("b.py".to_owned(), 5)]);
    let shown: Vec<_> = got.findings.iter().map(|f| (f.kind.as_str(), f.excerpt.as_str())).collect();
    assert_eq!(shown[..3], [("aws-access-key-id", "AKIA…"), ("assignment", "c0rr…"), ("aws-access-key-id", "AKIA…")]);
    assert_eq!((got.files_searched, got.files_skipped, got.truncated), (2, 0, false));
}

#[test]
fn hidden_and_ignored_files_are_looked_into_and_git_is_not() {
    let folder = folder(&[(".gitignore", "*"), (".env", &key()), ("target/a", &key()), (".git/config", &key()), ("sub/.git/b", &key())]);
    assert_eq!(paths(&folder, &run(&folder)), [(".env".to_owned(), 1), ("target/a".to_owned(), 1)]);
}

#[test]
fn large_and_binary_files_are_skipped_and_counted() {
    let large = format!("{}{}", key(), "\n".repeat(FILE as usize));
    let late = format!("{}{}\0{}", "\n".repeat(HEAD), key(), key());
    let folder = folder(&[("binary", &format!("\0{}", key())), ("large", &large), ("late", &late), ("text", &key())]);
    let got = run(&folder);
    let (late, text) = ("late".to_owned(), "text".to_owned());
    assert_eq!(paths(&folder, &got), [(late.clone(), HEAD as u64 + 1), (late, HEAD as u64 + 1), (text, 1)]);
    assert_eq!((got.files_searched, got.files_skipped), (2, 2));
}

#[test]
fn more_findings_than_are_returned_are_cut_and_it_says_so() {
    let lines = |count| format!("{}\n", key()).repeat(count);
    for (count, findings, truncated) in [(200, 200, false), (201, 200, true)] {
        let got = run(&folder(&[("a", &lines(150)), ("b", &lines(count - 150))]));
        assert_eq!((got.findings.len(), got.truncated), (findings, truncated), "{count}");
    }
}

#[test]
fn a_single_file_can_be_scanned_and_a_path_that_is_not_there_is_named() {
    let folder = folder(&[("a", &key())]);
    let path = folder.path().join("a").to_str().unwrap().to_owned();
    assert_eq!(scan(Scan { path: Some(path) }).unwrap().0.findings.len(), 1);
    let failure = scan(Scan { path: Some("/no/such".to_owned()) }).unwrap_err();
    assert!(failure.message().starts_with("/no/such: "), "{}", failure.message());
}

#[test]
fn the_schema_is_closed_and_requires_nothing() {
    let definition = palisade_sdk::definitions(&__palisade_tools()).remove(0);
    let schema: Value = from_str(&definition.input_schema).unwrap();
    assert_eq!((&schema["additionalProperties"], schema.get("required")), (&json!(false), None));
    assert!(schema["properties"]["path"]["description"].is_string());
}
