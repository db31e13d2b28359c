//! Tells the linker of the binary how to write it, and lists the sources of the SDKs that the binary carries.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What the binary carries, from the root of the repository. The SDKs' conformance table is for whoever changes the SDKs.
const CARRIED: [&str; 8] = [
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "plugin-sdk/Cargo.toml",
    "plugin-sdk/js",
    "plugin-sdk/macros",
    "plugin-sdk/python",
    "plugin-sdk/src",
    "wit",
];
/// What is made beside the sources, and belongs to nobody else.
const MADE: [&str; 5] = ["node_modules", "__pycache__", "build", "target", "dist"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| std::env::var(key).is_ok_and(|v| v == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        // Fifty thousand relocations at each start: as a bitmap they are some kilobytes to read instead of 1.2 MB.
        // Needs glibc 2.36; linkers that do not know it say so and go on.
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    let root = variable("CARGO_MANIFEST_DIR").join("..");
    let mut files = Vec::new();
    CARRIED.iter().for_each(|below| collect(&root, below, &mut files));
    files.sort();
    let mut table = String::from("&[\n");
    for below in &files {
        let path = root.join(below);
        println!("cargo:rerun-if-changed={}", path.display());
        // A link among the sources is carried as the file it leads to.
        let _ = writeln!(table, "    ({below:?}, include_bytes!({:?}) as &[u8]),", path.display().to_string());
    }
    table.push_str("]\n");
    // A folder that others write to as well is not watched: a new file of it comes with a change to one that names it.
    for folder in ["wit", "plugin-sdk/src", "plugin-sdk/macros/src", "plugin-sdk/js/src"] {
        println!("cargo:rerun-if-changed={}", root.join(folder).display());
    }
    std::fs::write(variable("OUT_DIR").join("carried.rs"), table).expect("the build's own folder can be written to");
}

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).expect("cargo sets it").into()
}

fn collect(root: &Path, below: &str, files: &mut Vec<String>) {
    let path = root.join(below);
    if !path.is_dir() {
        return files.push(below.to_owned());
    }
    for entry in std::fs::read_dir(&path).expect("a folder of the repository can be listed") {
        let name = entry.expect("a folder of the repository can be listed").file_name();
        let name = name.to_str().expect("a name in the repository is text");
        let hidden = name.starts_with('.') && name != ".npmrc";
        if !hidden && !MADE.contains(&name) && !name.ends_with(".egg-info") && !name.ends_with('~') {
            collect(root, &format!("{below}/{name}"), files);
        }
    }
}
