//! Guests that use paths, all through the file system they were given.

use palisade_sdk::{Result, arguments, guest_path, tool};

/// Where.
#[arguments]
pub struct At {
    /// Relative to the workspace, or an absolute guest path.
    pub path: String,
}

/// Where, and what.
#[arguments]
pub struct Write {
    /// Relative to the workspace, or an absolute guest path.
    pub path: String,
    /// What is written.
    pub text: String,
}

/// Reads a file, with the path exactly as given.
#[tool]
pub fn read(args: At) -> Result<String> {
    Ok(std::fs::read_to_string(at(&args.path))?)
}

/// Writes a file.
#[tool]
pub fn write(args: Write) -> Result<String> {
    std::fs::write(at(&args.path), &args.text)?;
    Ok("written".to_owned())
}

/// Lists a folder.
#[tool]
pub fn entries(args: At) -> Result<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(at(&args.path))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.join(" "))
}

/// Unlike `guest_path`, it keeps `..` where it stands.
fn at(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", guest_path("").display()) }
}
