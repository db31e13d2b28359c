//! Greets somebody by name.

use palisade_sdk::{Result, arguments, tool};

/// Who is greeted.
#[arguments]
struct Greet {
    /// The name of whom to greet.
    name: String,
}

/// Greets somebody by name.
#[tool(title = "Greet", read_only)]
fn greet(args: Greet) -> Result<String> {
    if args.name.is_empty() {
        return Err("`name` is empty; say who is greeted".into());
    }
    Ok(format!("Hello, {}!", args.name))
}

palisade_sdk::export!(greet);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_greeted_by_name() {
        assert_eq!(greet(Greet { name: "Ada".into() }).unwrap(), "Hello, Ada!");
    }

    #[test]
    fn nobody_is_an_error_that_says_what_to_do() {
        assert_eq!(greet(Greet { name: String::new() }).unwrap_err().message(), "`name` is empty; say who is greeted");
    }
}
