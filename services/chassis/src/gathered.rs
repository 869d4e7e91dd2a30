//! A connection whose writes gather for one turn of the scheduler.
//!
//! A batch answers many callers at once, and most of them share a few HTTP/2 connections. Each answer wakes the
//! connection's task, which would write it at once: a system call, and a client woken, for every answer. Here what is
//! written is kept until the tasks that are ready now have run; then it leaves in one piece. When nobody else is ready
//! that is at once: there is no timer here.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tonic::transport::server::Connected;

/// Bytes kept at most; whoever writes more waits until these are on their way.
const KEPT_MAX: usize = 64 * 1024;

/// Wraps `S`. What was written and not flushed is lost with it, as with any buffered writer.
#[derive(Debug)]
pub(crate) struct Gathered<S> {
    inner: S,
    kept: Vec<u8>,
    /// How much of `kept` is written already.
    written: usize,
    /// Others had their turn since something was kept.
    waited: bool,
    /// Its place among the connections that are open.
    _place: Option<OwnedSemaphorePermit>,
}

impl<S> Gathered<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self { inner, kept: Vec::new(), written: 0, waited: false, _place: None }
    }

    /// The same, keeping `place` as long as it lives.
    pub(crate) fn holding(self, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..self }
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Writes all that is kept.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.kept.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.kept.clear();
        (self.written, self.waited) = (0, false);
        Poll::Ready(Ok(()))
    }

    /// Makes room for something at least.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.kept.len() >= KEPT_MAX {
            ready!(self.poll_drain(context))?;
        }
        Poll::Ready(Ok(KEPT_MAX - self.kept.len()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let room = ready!(self.poll_room(context))?;
        let taken = buffer.get(..room).unwrap_or(buffer);
        self.kept.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.poll_room(context))?;
        let before = self.kept.len();
        for buffer in buffers {
            let left = room - (self.kept.len() - before);
            self.kept.extend_from_slice(buffer.get(..left).unwrap_or(buffer));
        }
        Poll::Ready(Ok(self.kept.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.kept.is_empty() && !self.waited {
            // A task that wakes itself comes after those that are ready now.
            self.waited = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl Connected for Gathered<TcpStream> {
    type ConnectInfo = <TcpStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Counts what reaches the system.
    struct Counted {
        writes: Vec<Vec<u8>>,
        /// Bytes taken at once at most.
        most: usize,
    }

    impl AsyncWrite for Counted {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
            let taken = &buffer[..buffer.len().min(self.most)];
            self.writes.push(taken.to_vec());
            Poll::Ready(Ok(taken.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn counted(most: usize) -> Gathered<Counted> {
        Gathered::new(Counted { writes: Vec::new(), most })
    }

    #[tokio::test]
    async fn what_is_written_before_others_had_their_turn_leaves_in_one_piece() {
        let mut connection = counted(usize::MAX);
        // Given: a first flush that lets others go first.
        connection.write_all(b"one ").await.unwrap();
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut connection).poll_flush(&mut context).is_pending());
        // When: more is written meanwhile.
        connection.write_all(b"two").await.unwrap();
        connection.flush().await.unwrap();
        // Then
        assert_eq!(connection.inner.writes, [b"one two"]);
    }

    #[tokio::test]
    async fn nothing_is_lost_or_mixed_up_however_little_the_system_takes() {
        let said: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut connection = counted(1_000);
        for part in said.chunks(1_777) {
            connection.write_all(part).await.unwrap();
        }
        connection.shutdown().await.unwrap();
        assert!(connection.inner.writes.concat() == said);
    }

    #[tokio::test]
    async fn who_writes_more_than_is_kept_waits_for_the_system() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut connection = Gathered::new(ours);
        let writing = async move {
            connection.write_all(&vec![7; KEPT_MAX * 3]).await.unwrap();
            connection.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let ((), read) = tokio::join!(writing, theirs.read_to_end(&mut heard));
        read.unwrap();
        assert_eq!(heard.len(), KEPT_MAX * 3);
    }
}
