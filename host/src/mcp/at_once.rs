//! A transport that writes a message when it is sent, where there is room for it: the protocol's library sends each answer in a task
//! of its own, and whoever waits for it would wait for that task's turn too.

use rmcp::service::{RxJsonRpcMessage, ServiceRole, TxJsonRpcMessage};
use rmcp::transport::Transport;
use std::future::Future;
use std::task::{Context, Poll, Waker};

pub(super) struct AtOnce<T>(pub T);

impl<R: ServiceRole, T: Transport<R>> Transport<R> for AtOnce<T> {
    type Error = T::Error;

    fn send(&mut self, message: TxJsonRpcMessage<R>) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let mut sending = Box::pin(self.0.send(message));
        // Nobody is to be woken: who polls it next is.
        let sent = match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => Ok(sent),
            Poll::Pending => Err(sending),
        };
        async {
            match sent {
                Ok(sent) => sent,
                Err(sending) => sending.await,
            }
        }
    }

    fn receive(&mut self) -> impl Future<Output = Option<RxJsonRpcMessage<R>>> + Send {
        self.0.receive()
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.0.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::RoleServer;
    use rmcp::model::{CallToolResult, ContentBlock, JsonRpcMessage, RequestId};
    use rmcp::transport::async_rw::AsyncRwTransport;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

    fn answer(id: i64, text: &str) -> TxJsonRpcMessage<RoleServer> {
        JsonRpcMessage::response(CallToolResult::success(vec![ContentBlock::text(text)]).into(), RequestId::Number(id))
    }

    #[tokio::test]
    async fn an_answer_for_which_there_is_room_is_out_before_its_task_runs() {
        let (mut client, server) = tokio::io::duplex(4096);
        let mut transport = AtOnce(AsyncRwTransport::<RoleServer, _, _>::new_server(tokio::io::empty(), server));
        let sent = transport.send(answer(1, "out"));
        let mut read = vec![0; 4096];
        let length = tokio::select! {
            biased;
            length = client.read(&mut read) => length.unwrap(),
            () = std::future::ready(()) => panic!("nothing is out"),
        };
        assert!(String::from_utf8_lossy(&read[..length]).ends_with("\n"), "{read:?}");
        sent.await.unwrap();
    }

    #[tokio::test]
    async fn answers_for_which_there_is_none_come_whole_and_in_their_order() {
        let (client, server) = tokio::io::duplex(64);
        let mut transport = AtOnce(AsyncRwTransport::<RoleServer, _, _>::new_server(tokio::io::empty(), server));
        let long = "x".repeat(1000);
        let sent: Vec<_> = (1..4).map(|id| tokio::spawn(transport.send(answer(id, &long)))).collect();
        let mut lines = BufReader::new(client).lines();
        for id in 1..4 {
            let line: serde_json::Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
            assert_eq!((&line["id"], &line["result"]["content"][0]["text"]), (&id.into(), &long.as_str().into()));
        }
        for sent in sent {
            sent.await.unwrap().unwrap();
        }
    }
}
