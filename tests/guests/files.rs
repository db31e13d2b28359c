//! Guests that use paths, all through the file system they were given.

use palisade_sdk::{Result, arguments, guest_path, tool};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags};

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

/// What to do.
#[arguments]
pub struct Steps {
    /// Each an operation, the guest path of a granted folder, and paths below it.
    pub steps: Vec<String>,
}

/// Takes each step through the interface itself, so that no library of the guest reads a path before the host does, and
/// says of each what came of it.
#[tool]
pub fn steps(args: Steps) -> Result<String> {
    let folders = get_directories();
    let one = |step: &String| taken(&folders, step).unwrap_or_else(|error| error.name().to_owned());
    Ok(args.steps.iter().map(one).collect::<Vec<_>>().join("\n"))
}

fn taken(folders: &[(Descriptor, String)], step: &str) -> std::result::Result<String, ErrorCode> {
    let words: Vec<&str> = step.split(' ').collect();
    let path = |i: usize| words.get(i).copied().unwrap_or_default();
    let folder = |i: usize| folders.iter().find(|(_, name)| name == path(i)).map(|(folder, _)| folder).ok_or(ErrorCode::BadDescriptor);
    let (at, now) = (folder(1)?, NewTimestamp::Now);
    let (follow, plain) = (PathFlags::SYMLINK_FOLLOW, PathFlags::empty());
    let (read, write) = (DescriptorFlags::READ, DescriptorFlags::WRITE);
    let open = |flags, open, mode| at.open_at(flags, path(2), open, mode);
    // Opened to be read, whatever is then done with it.
    let file = || open(follow, OpenFlags::empty(), read);
    let put = |file: Descriptor| file.write(b"changed", 0).map(drop);
    match path(0) {
        "read" => return file()?.read(100, 0).map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned()),
        "open-here" => open(plain, OpenFlags::empty(), read).map(drop),
        "write" => put(open(follow, OpenFlags::empty(), write)?),
        "create" => put(open(follow, OpenFlags::CREATE, write)?),
        "truncate" => open(follow, OpenFlags::TRUNCATE, read).map(drop),
        "opened-write" => put(file()?),
        "opened-stream" => file()?.write_via_stream(0).map(drop),
        "opened-append" => file()?.append_via_stream().map(drop),
        "opened-size" => file()?.set_size(0),
        "opened-times" => file()?.set_times(now, now),
        "times" => at.set_times_at(follow, path(2), now, now),
        "times-here" => at.set_times_at(plain, path(2), now, now),
        "stat" => at.stat_at(follow, path(2)).map(drop),
        "hash" => at.metadata_hash_at(follow, path(2)).map(drop),
        "readlink" => return at.readlink_at(path(2)),
        "symlink" => at.symlink_at(path(3), path(2)),
        "mkdir" => at.create_directory_at(path(2)),
        "rmdir" => at.remove_directory_at(path(2)),
        "unlink" => at.unlink_file_at(path(2)),
        "link" => at.link_at(plain, path(2), folder(3)?, path(4)),
        "link-follow" => at.link_at(follow, path(2), folder(3)?, path(4)),
        "rename" => at.rename_at(path(2), folder(3)?, path(4)),
        // A step with another folder below as its own: what is opened there is asked for the last path.
        "below-write" => put(file()?.open_at(follow, path(3), OpenFlags::CREATE, write)?),
        "below-read" => file()?.open_at(follow, path(3), OpenFlags::empty(), read).map(drop),
        _ => Err(ErrorCode::Unsupported),
    }
    .map(|()| "done".to_owned())
}
