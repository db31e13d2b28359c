//! Fetches the text of a URL. Where it may go, a person granted; it sends no secret, because it has none.

mod request;
mod url;

use palisade_sdk::{Result, arguments, tool};
use request::Answer;
use url::Url;

/// Redirects that are followed. Each is a new request, which the host decides like the first.
const REDIRECTS: usize = 5;
/// Most text that is returned, in bytes.
const TEXT: usize = 1024 * 1024;
/// Most text of an error page that is quoted, in characters.
const QUOTED: usize = 200;

/// What is fetched.
#[arguments]
pub struct Get {
    /// The URL: http or https.
    pub url: String,
}

/// Fetches the text of a URL and follows up to five redirects.
#[tool(title = "Fetch a URL", read_only, idempotent, open_world)]
fn get(args: Get) -> Result<String> {
    Ok(follow(&args.url, request::get)?)
}

fn follow(start: &str, mut get: impl FnMut(&Url) -> std::result::Result<Answer, String>) -> std::result::Result<String, String> {
    let mut url = Url::parse(start).map_err(|why| format!("{start}: {why}"))?;
    for _ in 0..=REDIRECTS {
        let answer = get(&url).map_err(|why| format!("{url}: {why}"))?;
        match (answer.status, answer.location) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                url = url.join(&location).map_err(|why| format!("{url} redirects to {location}: {why}"))?;
            }
            (200..=299, _) => return text(&url, answer.body),
            (status, _) => {
                let page = String::from_utf8_lossy(&answer.body).chars().take(QUOTED).collect::<String>();
                return Err(format!("{url} answered with status {status}: {}", page.trim()));
            }
        }
    }
    Err(format!("{start} redirects more than {REDIRECTS} times"))
}

/// The text, cut where it is too long.
fn text(url: &Url, mut body: Vec<u8>) -> std::result::Result<String, String> {
    let long = body.len() > TEXT;
    body.truncate(TEXT);
    let mut text = match String::from_utf8(body) {
        Ok(text) => text,
        // Cut in the middle of a character.
        Err(error) if long && error.utf8_error().error_len().is_none() => {
            let end = error.utf8_error().valid_up_to();
            String::from_utf8_lossy(&error.as_bytes()[..end]).into_owned()
        }
        Err(_) => return Err(format!("{url} is not UTF-8 text")),
    };
    if long {
        text.push_str(&format!("\n[cut off after {TEXT} bytes]"));
    }
    Ok(text)
}

palisade_sdk::export!(get);

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, location: Option<&str>, body: &str) -> Answer {
        Answer { status, location: location.map(str::to_owned), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn each_hop_of_a_redirect_is_a_request_of_its_own_and_they_end() {
        let mut seen = Vec::new();
        let got = follow("http://a/x", |url| {
            seen.push(url.to_string());
            Ok(if seen.len() < 3 { answer(302, Some("/y"), "") } else { answer(200, None, "there") })
        });
        assert_eq!((got.as_deref(), seen.len()), (Ok("there"), 3));
        assert_eq!(seen[1], "http://a/y");
        let mut hops = 0;
        let endless = follow("http://a/x", |_| {
            hops += 1;
            Ok(answer(302, Some("/x"), ""))
        });
        assert!(endless.unwrap_err().contains("more than 5 times") && hops == 6);
    }

    #[test]
    fn a_redirect_out_of_http_is_an_error_that_names_it() {
        let error = follow("https://a/x", |_| Ok(answer(301, Some("file:///etc/passwd"), ""))).unwrap_err();
        assert!(error.contains("file:///etc/passwd"), "{error}");
    }

    #[test]
    fn an_error_names_url_and_status_and_long_text_is_cut_between_characters() {
        let error = follow("https://a/x", |_| Ok(answer(404, None, "nothing here"))).unwrap_err();
        assert_eq!(error, "https://a/x answered with status 404: nothing here");
        let long = format!("x{}", "ä".repeat(TEXT));
        let got = follow("https://a/x", |_| Ok(answer(200, None, &long))).unwrap();
        assert!(got.ends_with("bytes]") && got.len() < TEXT + 50);
        assert!(follow("https://a/x", |_| Ok(Answer { status: 200, location: None, body: vec![0xff] })).is_err());
    }
}
