//! The network between a worker and the coordinator.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The treatment of bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Kept until the network heals, as if it dropped packets and TCP sent them again.
    Hold,
    /// Dropped from the stream, as TCP never does.
    Lose,
}

/// A proxy with its own port. It is closed when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
}

struct Line {
    target: SocketAddr,
    /// From the worker to the coordinator.
    up: AtomicU8,
    down: AtomicU8,
    /// Milliseconds by which every piece of data is delayed.
    delay: AtomicU64,
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let line = Arc::new(Line {
            target,
            up: AtomicU8::new(Mode::Pass as u8),
            down: AtomicU8::new(Mode::Pass as u8),
            delay: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = line.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.closed.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), line) = (stream, accepting.clone()) else { continue };
                thread::spawn(move || line.connect(stream));
            }
        });
        Self { address, line }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the treatment of bytes to the coordinator, and of those from it.
    pub(crate) fn set(&self, up: Mode, down: Mode) {
        self.line.up.store(up as u8, Ordering::SeqCst);
        self.line.down.store(down as u8, Ordering::SeqCst);
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.line.delay.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// Passes bytes normally again. Connections that were held stay open.
    pub(crate) fn heal(&self) {
        self.set(Mode::Pass, Mode::Pass);
        self.delay(Duration::ZERO);
    }

    /// Closes all connections.
    pub(crate) fn cut(&self) {
        for stream in self.line.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.closed.store(true, Ordering::SeqCst);
        self.heal();
        self.cut();
        let _ = TcpStream::connect(self.address); // wakes the thread that accepts
    }
}

impl Line {
    fn connect(self: Arc<Self>, client: TcpStream) {
        // If nothing listens, the client is disconnected.
        let Ok(server) = TcpStream::connect_timeout(&self.target, Duration::from_secs(2)) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let twin = |stream: &TcpStream| stream.try_clone().unwrap();
        {
            let mut open = self.open.lock().unwrap();
            open.retain(|stream| stream.peer_addr().is_ok());
            open.extend([twin(&client), twin(&server)]);
        }
        let (line, from, to) = (self.clone(), twin(&client), twin(&server));
        let up = thread::spawn(move || line.carry(from, to, |line| &line.up));
        self.carry(server, client, |line| &line.down);
        let _ = up.join();
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, mode: impl Fn(&Self) -> &AtomicU8) {
        let mut bytes = vec![0; 64 * 1024];
        let is = |wanted: Mode| mode(self).load(Ordering::SeqCst) == wanted as u8;
        let wait = || {
            while is(Mode::Hold) && !self.closed.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(2));
            }
        };
        loop {
            let read = from.read(&mut bytes);
            // The end of the connection is held back too.
            wait();
            let Ok(length @ 1..) = read else { break };
            thread::sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst)));
            if !is(Mode::Lose) && to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        let _ = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
    }
}
