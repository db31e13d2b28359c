//! `SKILL.md`, from bytes to a skill or to the reason why it is none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade::Kind;
use palisade::config::{Home, Options, Settings};
use palisade::skills::find_folder;
use palisade_fuzz::{assert_clean, hides};
use std::path::PathBuf;
use std::sync::LazyLock;

struct Place {
    /// Removes all of it at the end.
    _temp: tempfile::TempDir,
    settings: Settings,
    skill: PathBuf,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    let (home, workspace, skill) = (root.join("home"), root.join("workspace"), root.join("a-skill"));
    [&home, &workspace, &skill].into_iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    let options = Options { workspace: Some(workspace), ..Options::default() };
    let settings = Settings::resolve(&options, Home::at(&home).unwrap()).unwrap();
    Place { _temp: temp, settings, skill }
});

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(PLACE.skill.join("SKILL.md"), bytes).unwrap();
    let found = find_folder(&PLACE.settings, &PLACE.skill);
    assert_eq!(found.skills.len() + found.quarantined.len(), 1);
    for broken in &found.quarantined {
        assert_eq!(broken.error.kind, Kind::Manifest);
        assert_clean(&broken.error);
    }
    for skill in &found.skills {
        let dirty = |c: char| hides(c) || (c.is_control() && !matches!(c, '\n' | '\t'));
        let metadata = skill.metadata.iter().flat_map(|(key, value)| [key, value]);
        let texts = [&skill.description, &skill.text].into_iter().chain(&skill.license).chain(&skill.compatibility).chain(metadata);
        for text in texts {
            assert!(!text.contains(dirty), "{text:?}");
        }
        let lines = skill.findings.iter().chain(&skill.notes).map(|remark| &remark.what).chain([&skill.name]);
        for line in lines {
            assert!(!line.contains(|c| dirty(c) || c == '\n'), "{line:?}");
        }
        assert!(!skill.name.trim().is_empty() && !skill.description.trim().is_empty());
        // A key that stands at the start of a line of plain front matter is not lost.
        let text = String::from_utf8_lossy(bytes);
        let plain =
            text.split("---").count() == 3 && !text.contains(['\r', '"', '\'', '|', '>', '{', '[', '&', '*', '?', '#', '\t', '%', '.']);
        let front = text.split("\n---").next().unwrap_or_default();
        assert!(!plain || !front.contains("\nallowed-tools: a\n") || skill.allowed.is_some(), "{text:?}");
    }
});
