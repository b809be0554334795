//! Faults below HTTP: connections that are cut after a number of bytes, or answered with bytes that
//! are not HTTP. `inject.rs` decides which requests are affected.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::locked;

const HEAD_END: &[u8] = b"\r\n\r\n";

/// Controls the faults of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Mutex<Action>>);

#[derive(Debug, Default)]
enum Action {
    #[default]
    Pass,
    Cut(Cut),
    Replace(Bytes),
}

#[derive(Debug)]
struct Cut {
    body_left: u64,
    by_reset: bool,
    in_body: bool,
    /// How many bytes of [`HEAD_END`] the last bytes of the head match.
    matched: usize,
}

impl Wire {
    /// Sends the next response unchanged.
    pub(super) fn pass(&self) {
        *locked(&self.0) = Action::Pass;
    }

    /// Closes the connection after `body_bytes` of the next response's body: normally, or by a
    /// reset, which also discards bytes in flight.
    pub(super) fn cut_after(&self, body_bytes: u64, by_reset: bool) {
        let cut = Cut { body_left: body_bytes, by_reset, in_body: false, matched: 0 };
        *locked(&self.0) = Action::Cut(cut);
    }

    /// Writes `bytes` instead of the next response, and closes the connection.
    pub(super) fn replace_response(&self, bytes: impl Into<Bytes>) {
        *locked(&self.0) = Action::Replace(bytes.into());
    }
}

impl Cut {
    /// The number of `bytes` that may still be sent.
    fn allowed(&self, bytes: &[u8]) -> usize {
        let mut after = Self { ..*self };
        let head = after.pass_head(bytes);
        let body = (bytes.len() - head) as u64;
        head + body.min(after.body_left) as usize
    }

    fn passed(&mut self, bytes: &[u8]) {
        let head = self.pass_head(bytes);
        self.body_left -= (bytes.len() - head) as u64;
    }

    /// Advances through the response's head; returns how many of `bytes` belong to it.
    fn pass_head(&mut self, bytes: &[u8]) -> usize {
        if self.in_body {
            return 0;
        }
        for (index, &byte) in bytes.iter().enumerate() {
            self.matched = match byte {
                _ if byte == HEAD_END[self.matched] => self.matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.matched == HEAD_END.len() {
                self.in_body = true;
                return index + 1;
            }
        }
        bytes.len()
    }

    fn is_due(&self) -> bool {
        self.in_body && self.body_left == 0
    }

    fn close(&self, stream: &TcpStream) -> io::Error {
        if self.by_reset {
            // If this fails, the connection closes normally, which clients must handle as well.
            let _ = stream.set_zero_linger();
        }
        io::ErrorKind::ConnectionAborted.into()
    }
}

/// A connection with the faults of its [`Wire`].
#[derive(Debug)]
pub(super) struct WireStream {
    stream: TcpStream,
    wire: Wire,
}

impl AsyncRead for WireStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, wire } = self.get_mut();
        match &mut *locked(&wire.0) {
            Action::Pass => Pin::new(stream).poll_write(context, bytes),
            Action::Cut(cut) => {
                let allowed = cut.allowed(bytes);
                if allowed == 0 {
                    return Poll::Ready(Err(cut.close(stream)));
                }
                let written = ready!(Pin::new(stream).poll_write(context, &bytes[..allowed]))?;
                cut.passed(&bytes[..written]);
                Poll::Ready(Ok(written))
            }
            Action::Replace(content) => {
                while !content.is_empty() {
                    let written = ready!(Pin::new(&mut *stream).poll_write(context, content))?;
                    content.advance(written);
                }
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !matches!(*locked(&self.wire.0), Action::Pass) {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| &slice[..]));
        }
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, wire } = self.get_mut();
        match &*locked(&wire.0) {
            Action::Cut(cut) if cut.is_due() => Poll::Ready(Err(cut.close(stream))),
            _ => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Accepts connections with fault injection.
#[derive(Debug)]
pub(super) struct WireListener(pub(super) TcpListener);

impl Listener for WireListener {
    type Io = WireStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // This implementation waits and retries on errors such as too many open files.
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Avoids delays of small responses; nothing breaks if it cannot be set.
        let _ = stream.set_nodelay(true);
        (WireStream { stream, wire: Wire::default() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, WireListener>> for Wire {
    fn connect_info(stream: IncomingStream<'_, WireListener>) -> Self {
        stream.io().wire.clone()
    }
}
