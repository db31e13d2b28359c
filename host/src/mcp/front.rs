//! The side of a client's stream that is read: calls of tools are read here, all else by the protocol's library.
//!
//! The library tries a message as each kind of request in turn, keeping it in pieces meanwhile; a call of a tool is the
//! fourteenth (measured: 6 µs of the 50 that a small call takes). Here a line is read as such a call first, into the same types.
//! What is not one to the letter goes on as it came, and so does a line that does not fit the buffer.

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequest, CallToolRequestMethod, CallToolRequestParams, JsonObject, JsonRpcMessage, JsonRpcVersion2_0, RequestId,
    RequestMetaObject,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader, ReadBuf};

/// Longest line, in bytes, that is read here.
const LINE: usize = 16 * 1024;

/// A call of a tool, with nothing beside it that is not named here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    #[serde(rename = "jsonrpc")]
    _version: JsonRpcVersion2_0,
    id: RequestId,
    #[serde(rename = "method")]
    _method: CallToolRequestMethod,
    params: Object<Params>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    name: String,
    arguments: Option<JsonObject>,
    #[serde(rename = "_meta")]
    meta: Option<JsonObject>,
}

/// What is written as an object: to have its members in a row is not enough.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// The message that a line is, where it is a call of a tool.
fn call(line: &[u8]) -> Option<RxJsonRpcMessage<RoleServer>> {
    let Object(Call { id, params: Object(Params { name, arguments, meta }), .. }) = serde_json::from_slice(line).ok()?;
    let mut params = CallToolRequestParams::new(name);
    params.arguments = arguments;
    let mut request = CallToolRequest::new(params);
    // The library keeps it beside the parameters.
    if let Some(meta) = meta {
        request.extensions.insert(RequestMetaObject::from(meta));
    }
    Some(JsonRpcMessage::request(request.into(), id))
}

/// What is not read here, on its way to the library.
#[derive(Clone, Default)]
struct Passed(Arc<Mutex<Bytes>>);

#[derive(Default)]
struct Bytes {
    waiting: Vec<u8>,
    read: usize,
    over: bool,
}

impl Passed {
    fn with<T>(&self, of: impl FnOnce(&mut Bytes) -> T) -> T {
        of(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_read(&self) -> bool {
        self.with(|bytes| bytes.read == bytes.waiting.len())
    }

    fn pass(&self, more: &[u8]) {
        self.with(|bytes| {
            bytes.waiting.drain(..bytes.read);
            bytes.read = 0;
            bytes.waiting.extend_from_slice(more);
        });
    }
}

impl AsyncRead for Passed {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        self.with(|bytes| {
            let rest = &bytes.waiting[bytes.read..];
            if rest.is_empty() && !bytes.over {
                // Nobody is woken: whoever passes more polls this next.
                return Poll::Pending;
            }
            let taken = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..taken]);
            bytes.read += taken;
            Poll::Ready(Ok(()))
        })
    }
}

/// Waits until the library has read what was passed to it, and there is more or the stream is over. It is asked again whenever the
/// library was: what that has read by then, nobody else tells.
async fn is_over<R: AsyncRead + Unpin>(input: &mut BufReader<R>, passed: &Passed) -> bool {
    std::future::poll_fn(|context| {
        if !passed.is_read() {
            return Poll::Pending;
        }
        // A stream that cannot be read is over too.
        Pin::new(&mut *input).poll_fill_buf(context).map(|bytes| bytes.map_or(true, <[u8]>::is_empty))
    })
    .await
}

/// A server's end of a stream of lines.
pub(super) struct Front<R, W: AsyncWrite> {
    input: BufReader<R>,
    /// Whether what is read next begins a line.
    at_start: bool,
    passed: Passed,
    inner: AsyncRwTransport<RoleServer, Passed, W>,
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin + 'static> Front<R, W> {
    /// Lines of more than `longest` bytes are dropped.
    pub(super) fn new(read: R, write: W, longest: usize) -> Self {
        let passed = Passed::default();
        let inner = AsyncRwTransport::new_server(passed.clone(), write).with_max_line_length(longest);
        Self { input: BufReader::with_capacity(LINE, read), at_start: true, passed, inner }
    }
}

impl<R: AsyncRead + Send + Unpin + 'static, W: AsyncWrite + Send + Unpin + 'static> Transport<RoleServer> for Front<R, W> {
    type Error = std::io::Error;

    fn send(&mut self, message: TxJsonRpcMessage<RoleServer>) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(message)
    }

    /// Dropped before it is ready, it has lost nothing.
    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let Self { input, passed, inner, .. } = self;
            let is_over = tokio::select! {
                biased;
                // It may also have to answer a line that is no message, before more is read.
                message = inner.receive() => return message,
                is_over = is_over(input, passed) => is_over,
            };
            if is_over {
                passed.with(|bytes| bytes.over = true);
                return inner.receive().await;
            }
            let bytes = input.buffer();
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let call = end.filter(|_| self.at_start).and_then(|end| call(&bytes[..end]));
            let taken = end.map_or(bytes.len(), |end| end + 1);
            if call.is_none() {
                passed.pass(&bytes[..taken]);
                self.at_start = end.is_some();
            }
            input.consume(taken);
            if call.is_some() {
                return call;
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::tests::values;
    use proptest::prelude::*;
    use rmcp::model::ClientRequest;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const MESSAGE: usize = 100_000;

    fn library(line: &[u8]) -> Option<RxJsonRpcMessage<RoleServer>> {
        serde_json::from_slice(line).ok()
    }

    #[test]
    fn a_call_is_read_here_and_nothing_else_is() {
        let plain = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "a__b", "arguments": {"x": [1, null]}}});
        let with = |place: &str, value: Value| {
            let mut other = plain.clone();
            match place.split_once('/') {
                Some((outer, inner)) => other[outer][inner] = value,
                None => other[place] = value,
            }
            other.to_string()
        };
        for read in
            [plain.to_string(), with("params/_meta", json!({"progressToken": "t"})), with("id", json!("seven")), format!("{plain}\r")]
        {
            assert!(call(read.as_bytes()).is_some(), "{read}");
        }
        let twice = plain.to_string().replacen("\"id\":7", "\"id\":7,\"id\":8", 1);
        let others = [
            with("method", json!("tools/list")),
            with("jsonrpc", json!("1.0")),
            with("id", Value::Null),
            with("result", json!({})),
            with("params/name", json!(1)),
            with("params/arguments", json!([])),
            with("params/task", json!({})),
            with("params", json!([])),
            with("params", json!(["a__b", {}, null])),
            json!(["2.0", 7, "tools/call", plain["params"]]).to_string(),
            twice,
            format!("[{plain}]"),
            format!("{plain}{plain}"),
            plain.to_string()[1..].to_owned(),
            String::new(),
        ];
        for other in others {
            assert!(call(other.as_bytes()).is_none(), "{other}");
        }
    }

    /// Members of an object as they stand in a line, in any order, some of them twice or of another kind.
    fn members() -> impl Strategy<Value = String> {
        let optional = vec!["arguments", "_meta", "inputResponses", "requestState", "task"];
        let object = prop::collection::vec((".{0,3}", values()), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())).boxed();
        let member = move |key: &'static str| {
            let value = match key {
                "name" | "requestState" => ".{0,8}".prop_map(Value::from).boxed(),
                "_meta" => prop_oneof![object.clone(), Just(json!({"progressToken": 3})), Just(Value::Null)].boxed(),
                _ => object.clone().boxed(),
            };
            let value = prop_oneof![12 => value, 1 => values()];
            value.prop_map(move |value| format!("{}:{value}", json!(key)))
        };
        let optional = prop::collection::vec(prop::sample::select(optional).prop_flat_map(member.clone()), 0..4);
        (member("name"), optional).prop_map(|(name, more)| [vec![name], more].concat()).prop_shuffle().prop_map(|members| members.join(","))
    }

    fn line() -> impl Strategy<Value = String> {
        let id = prop_oneof![any::<i64>().prop_map(Value::from), ".{0,6}".prop_map(Value::from), values()];
        let method = prop_oneof![9 => Just("tools/call"), 1 => Just("tools/list"), 1 => Just("tools/cal")];
        let more = prop_oneof![9 => Just(""), 1 => Just("\"result\":{}"), 1 => Just("\"error\":null"), 1 => Just("\"x\":1"), 1 => Just("\"id\":1")];
        (id, method, members(), more, any::<bool>()).prop_flat_map(|(id, method, params, more, version)| {
            let mut members = vec![format!("\"id\":{id}"), format!("\"method\":\"{method}\""), format!("\"params\":{{{params}}}")];
            members.extend(version.then(|| "\"jsonrpc\":\"2.0\"".to_owned()));
            members.extend(Some(more.to_owned()).filter(|more| !more.is_empty()));
            Just(members).prop_shuffle().prop_map(|members| format!("{{{}}}", members.join(",")))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_read_here_is_what_the_library_reads(line in line()) {
            if let Some(read) = call(line.as_bytes()) {
                prop_assert_eq!(format!("{read:?}"), format!("{:?}", library(line.as_bytes()).expect("it is a message")));
            }
        }
    }

    /// What never comes ends the test.
    async fn within<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(std::time::Duration::from_secs(60), what).await.expect("it comes")
    }

    #[tokio::test]
    async fn messages_come_whole_and_in_their_order_however_they_are_cut() {
        let long = "x".repeat(3 * LINE);
        let asked = |id: i64, text: &str| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "a", "arguments": {"t": text}}});
        let list = |id: i64| json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"});
        let other = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/unknown\"}";
        let lines = [
            asked(1, "a").to_string(),
            list(2).to_string(),
            asked(3, &long).to_string(),
            "no message".to_owned(),
            asked(4, "b").to_string(),
            other.to_owned(),
            // Dropped: it is too long.
            asked(99, &"y".repeat(MESSAGE)).to_string(),
            String::new(),
            asked(5, "c").to_string(),
            list(6).to_string(),
        ];
        let bytes = lines.join("\n") + "\n";
        for (cut, dropped) in [1, 7, 300, LINE, bytes.len()].into_iter().flat_map(|cut| [(cut, false), (cut, true)]) {
            let (mut client, server) = tokio::io::duplex(4096);
            let bytes = bytes.clone();
            let writing = tokio::spawn(async move {
                for piece in bytes.as_bytes().chunks(cut) {
                    client.write_all(piece).await.unwrap();
                }
            });
            let mut front = Front::new(server, tokio::io::sink(), MESSAGE);
            let mut ids = Vec::new();
            loop {
                // As the library asks for messages: it drops what it waits for when something else happens; or nothing else does.
                let message = tokio::select! {
                    message = within(front.receive()) => message,
                    () = tokio::task::yield_now(), if dropped => continue,
                };
                let Some(message) = message else { break };
                // The library hands on a notification that it does not know.
                let JsonRpcMessage::Request(request) = message else { continue };
                if let ClientRequest::CallToolRequest(call) = &request.request {
                    let text = call.params.arguments.as_ref().unwrap()["t"].as_str().unwrap();
                    assert!([1, 3].contains(&text.len()) || text == long, "{}", text.len());
                }
                ids.push(request.id);
            }
            writing.await.unwrap();
            assert_eq!(ids, (1..=6).map(RequestId::Number).collect::<Vec<_>>(), "in pieces of {cut} bytes");
        }
    }

    #[tokio::test]
    async fn what_ends_a_line_is_no_message_whatever_it_looks_like() {
        let call = |id: i64| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "a"}}).to_string();
        let rest = format!("{}\n{}\n", call(1), call(2));
        let mut front = Front::new(b"a line that goes on ".chain(std::io::Cursor::new(rest)), tokio::io::sink(), MESSAGE);
        let received = within(front.receive()).await;
        assert!(matches!(&received, Some(JsonRpcMessage::Request(request)) if request.id == RequestId::Number(2)), "{received:?}");
        assert!(within(front.receive()).await.is_none());
    }

    #[tokio::test]
    async fn what_is_no_request_is_answered_and_the_next_call_is_read() {
        let (mut client, server) = tokio::io::duplex(4096);
        let (output, written) = tokio::io::duplex(16);
        let mut front = Front::new(server, output, MESSAGE);
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a"}});
        client.write_all(format!("{{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":7}}\n{call}\n").as_bytes()).await.unwrap();
        let mut answers = BufReader::new(written).lines();
        let received = within(front.receive()).await;
        let answer = within(async {
            tokio::select! {
                more = front.receive() => panic!("{more:?}"),
                answer = answers.next_line() => answer,
            }
        });
        let answer = answer.await;
        let answer: Value = serde_json::from_str(&answer.unwrap().unwrap()).unwrap();
        assert_eq!(answer["error"]["message"], "Invalid request", "{answer}");
        assert!(matches!(received, Some(JsonRpcMessage::Request(request)) if request.id == RequestId::Number(1)));
    }
}
