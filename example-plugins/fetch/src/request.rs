//! One request over `wasi:http`.

use crate::url::Url;
use wasip2::http::outgoing_handler::{ErrorCode, handle};
use wasip2::http::types::{Fields, IncomingResponse, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;

/// Most of a body that is read, in bytes; one more than is returned, so that a cut is noticed.
const BODY: usize = crate::TEXT + 1;

/// What came back.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Where it redirects to.
    pub location: Option<String>,
    /// The body, or its start.
    pub body: Vec<u8>,
}

/// Gets a URL.
pub fn get(url: &Url) -> Result<Answer, String> {
    let headers = [("accept", "text/*, application/json;q=0.9, */*;q=0.1"), ("user-agent", "palisade-fetch/0.1")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let headers = Fields::from_list(&headers).map_err(|e| format!("a header was refused: {e}"))?;
    let request = OutgoingRequest::new(headers);
    request.set_scheme(Some(if url.tls { &Scheme::Https } else { &Scheme::Http })).map_err(|()| "the scheme was refused")?;
    request.set_authority(Some(&url.authority)).map_err(|()| "that is not a host")?;
    request.set_path_with_query(Some(&url.path)).map_err(|()| "that is not a path")?;
    let pending = handle(request, None).map_err(sentence)?;
    pending.subscribe().block();
    let response = pending.get().and_then(Result::ok).ok_or("there is no answer")?.map_err(sentence)?;
    let location = response.headers().get("location").into_iter().next();
    let location = location.map(|location| String::from_utf8_lossy(&location).into_owned());
    let status = response.status();
    Ok(Answer { status, location, body: body(&response)? })
}

fn body(response: &IncomingResponse) -> Result<Vec<u8>, String> {
    let body = response.consume().map_err(|()| "its body is gone")?;
    let stream = body.stream().map_err(|()| "its body is gone")?;
    let mut read = Vec::new();
    while read.len() < BODY {
        match stream.blocking_read((BODY - read.len()).min(64 * 1024) as u64) {
            Ok(piece) => read.extend_from_slice(&piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => return Err(format!("its body ended early: {}", error.to_debug_string())),
        }
    }
    Ok(read)
}

/// The codes a person meets, in words.
fn sentence(code: ErrorCode) -> String {
    match code {
        ErrorCode::HttpRequestDenied => "this plugin was not granted that host".to_owned(),
        ErrorCode::HttpRequestUriInvalid => "that is not a host that can be granted".to_owned(),
        ErrorCode::DestinationIpProhibited => "its name leads to an address that is not of the public internet".to_owned(),
        ErrorCode::DestinationNotFound => "its name has no address".to_owned(),
        ErrorCode::ConnectionRefused => "it cannot be connected to".to_owned(),
        ErrorCode::ConnectionTimeout | ErrorCode::HttpResponseTimeout => "it does not answer in time".to_owned(),
        ErrorCode::TlsCertificateError => "its certificate is not trusted".to_owned(),
        other => format!("the request failed: {other:?}"),
    }
}
