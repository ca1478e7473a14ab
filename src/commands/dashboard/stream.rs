//! What a page is told as it happens: server-sent events (the format of the HTML standard).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::board::{Board, Reader};

/// The least time between two rounds of messages.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest silence: a page that hears nothing for much longer knows that the server is gone.
const SILENCE: Duration = Duration::from_secs(5);

/// Tells everything that is known, and then what is new, until the board is closed or the reader leaves. A slow reader is told the
/// newest state less often.
pub(super) fn stream(board: Arc<Board>) -> Sse<ReceiverStream<Result<Event, Infallible>>> {
    let (sender, receiver) = mpsc::channel(1);
    let _told = tokio::spawn(tell(board, sender));
    Sse::new(ReceiverStream::new(receiver))
}

/// Sends messages, as far as somebody reads them.
async fn tell(board: Arc<Board>, to: mpsc::Sender<Result<Event, Infallible>>) -> Option<()> {
    let mut changes = board.changes();
    let mut reader = Reader::default();
    let send = |kind: &str, data: String| {
        let event = Event::default().event(kind).data(data);
        let to = to.clone();
        async move { to.send(Ok(event)).await.ok() }
    };
    send("hello", json!({ "version": env!("CARGO_PKG_VERSION") }).to_string()).await?;
    loop {
        let closed = board.is_closed();
        let _ = changes.borrow_and_update();
        for (kind, data) in board.news(&mut reader) {
            send(kind, data).await?;
        }
        if closed {
            return send("end", "{}".to_owned()).await;
        }
        tokio::time::sleep(PAUSE).await;
        tokio::select! {
            changed = changes.changed() => changed.ok()?,
            () = to.closed() => return None,
            () = tokio::time::sleep(SILENCE) => to.send(Ok(Event::default().comment(""))).await.ok()?,
        }
    }
}
