//! Guests that send requests, as well and as badly as the interface lets them.

use palisade_sdk::{Result, arguments, tool};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;

/// What is sent.
#[arguments]
pub struct Send {
    /// `http`, `https` or another.
    pub scheme: String,
    /// Host and port, or what is none.
    pub authority: String,
    /// Path and query.
    #[serde(default)]
    pub path: String,
    /// The method; GET where it is empty.
    #[serde(default)]
    pub method: String,
    /// Headers to try, by name; those that are refused are named in the answer.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Bytes of body.
    #[serde(default)]
    pub body: u32,
    /// How often.
    #[serde(default)]
    pub times: u32,
}

/// Sends requests and says of each what came of it.
#[tool]
pub fn send(args: Send) -> Result<String> {
    let one = |_| once(&args).unwrap_or_else(|error| error);
    Ok((0..args.times.max(1)).map(one).collect::<Vec<_>>().join("\n"))
}

fn once(args: &Send) -> std::result::Result<String, String> {
    let (fields, mut refused) = (Fields::new(), Vec::new());
    for name in &args.headers {
        if fields.append(name, b"x").is_err() {
            refused.push(name.as_str());
        }
    }
    let request = OutgoingRequest::new(fields);
    let scheme = match args.scheme.as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    request.set_scheme(Some(&scheme)).map_err(|()| "bad scheme")?;
    request.set_authority(Some(&args.authority)).map_err(|()| "bad authority")?;
    let path = if args.path.is_empty() { "/" } else { &args.path };
    request.set_path_with_query(Some(path)).map_err(|()| "bad path")?;
    if !args.method.is_empty() {
        request.set_method(&Method::Other(args.method.clone())).map_err(|()| "bad method")?;
    }
    let body = request.body().map_err(|()| "no body")?;
    let pending = handle(request, None).map_err(|e| format!("{e:?}"))?;
    let stream = body.write().map_err(|()| "no stream")?;
    let mut left = args.body as usize;
    while left > 0 {
        let piece = left.min(4096);
        if stream.blocking_write_and_flush(&vec![b'x'; piece]).is_err() {
            break;
        }
        left -= piece;
    }
    drop(stream);
    // The answer says what is wrong.
    let _ = OutgoingBody::finish(body, None);
    pending.subscribe().block();
    let response = pending.get().and_then(std::result::Result::ok).ok_or("no answer")?.map_err(|e| format!("{e:?}"))?;
    let body = response.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let (mut text, mut length) = (Vec::new(), 0);
    let end = loop {
        match stream.blocking_read(64 * 1024) {
            Ok(piece) => {
                length += piece.len();
                text.extend_from_slice(&piece[..piece.len().min(2000 - text.len().min(2000))]);
            }
            Err(StreamError::Closed) => break "whole".to_owned(),
            Err(StreamError::LastOperationFailed(error)) => break error.to_debug_string(),
        }
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(format!("status {} refused {refused:?} length {length} {end}\n{text}", response.status()))
}
