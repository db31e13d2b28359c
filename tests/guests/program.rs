//! A WASI command that does what its words say, some of it nothing a program should.

use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> std::io::Result<u8> {
    match words {
        [name, "words", rest @ ..] => println!("{name}: {}", rest.join("|")),
        [_, "exit", code] => return Ok(code.parse().unwrap_or(255)),
        [_, "upper"] => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text)?;
            std::io::stdout().write_all(&text.to_ascii_uppercase())?;
        }
        [_, "copy", from, to] => {
            if let Some(folder) = std::path::Path::new(to).parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::copy(from, to)?;
        }
        [_, "bytes"] => {
            std::io::stdout().write_all(&[0xff, 0])?;
            std::fs::write("raw", [0xfe])?;
        }
        [_, "list", folder] => {
            let mut names: Vec<String> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path().display().to_string()).collect();
            names.sort();
            println!("{}", names.join(" "));
        }
        [_, "read", path] => print!("{}", std::fs::read_to_string(path)?),
        [_, "append", path] => std::fs::File::options().append(true).open(path)?.write_all(b"!")?,
        [_, "reach"] => reach(),
        [_, "link"] => {
            let folders = wasip2::filesystem::preopens::get_directories();
            for (to, name) in [("/etc/passwd", "out"), ("../../../../etc/passwd", "above"), ("..", "up")] {
                println!("{name}: {}", folders[0].0.symlink_at(to, name).is_ok());
            }
        }
        [_, "flood"] => loop {
            std::io::stdout().write_all(&[b'x'; 4096])?;
        },
        [_, "fill"] => {
            let mut file = std::fs::File::create("full")?;
            loop {
                file.write_all(&[0; 65536])?;
            }
        }
        [_, "large"] => std::fs::File::create("large")?.write_all(&vec![b'x'; 5 << 20])?,
        [_, "crumbs"] => (0..).try_for_each(|i| std::fs::write(format!("f{i}"), ""))?,
        [_, "deep"] => {
            let mut path = std::path::PathBuf::from("d");
            for _ in 0..200 {
                path.push("d");
            }
            std::fs::create_dir_all(&path)?;
            std::fs::write(path.join("bottom"), "x")?;
        }
        [_, "spin"] => loop {
            std::hint::black_box(());
        },
        [_, "trap"] => {
            std::fs::write("half", "x")?;
            panic!("it went wrong here");
        }
        _ => {
            eprintln!("what is {words:?}?");
            return Ok(2);
        }
    }
    Ok(0)
}

/// Everything that is not its own folder.
fn reach() {
    println!("variables: {}", std::env::vars().count());
    for path in ["/etc/passwd", "../etc/passwd", "/../etc/passwd", "/proc/self/environ", "/workspace"] {
        println!("{path}: {}", std::fs::metadata(path).is_ok());
    }
    println!("out: {}", std::fs::write("../out", "x").is_ok());
    println!("socket: {}", std::net::TcpStream::connect("127.0.0.1:9").is_ok());
}
