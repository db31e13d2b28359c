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

/// How many.
#[arguments]
pub struct Flood {
    /// Files, or mebibytes.
    pub count: u32,
}

/// Writes into one file, a mebibyte at a time.
#[tool]
pub fn flood(args: Flood) -> Result<String> {
    let mut file = std::fs::File::create(at("out/flood"))?;
    for _ in 0..args.count {
        std::io::Write::write_all(&mut file, &[b'x'; 1 << 20])?;
    }
    Ok("written".to_owned())
}

/// Makes many small files, and does not care for errors.
#[tool]
pub fn litter(args: Flood) -> Result<String> {
    let made = (0..args.count).filter(|i| std::fs::write(at(&format!("out/litter-{i}")), "x").is_ok()).count();
    Ok(made.to_string())
}

/// Makes a file large without writing into it.
#[tool]
pub fn stretch(args: Flood) -> Result<String> {
    std::fs::File::create(at("out/stretch"))?.set_len(u64::from(args.count) << 20)?;
    Ok("stretched".to_owned())
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
