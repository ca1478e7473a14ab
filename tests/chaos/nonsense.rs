//! Connections that are not workers.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::schedule::Random;

/// Opens connections that send bytes that are not HTTP/2, begin with it and continue with junk, or send nothing. Keeps them
/// open for `lasts`.
pub(crate) fn talk_nonsense(address: SocketAddr, dice: u64, lasts: Duration) {
    let mut random = Random::new(dice);
    let mut peers = Vec::new();
    for _ in 0..20 {
        let Ok(mut peer) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { continue };
        let _ = peer.set_write_timeout(Some(Duration::from_secs(1)));
        let junk: Vec<u8> = (0..random.below(50_000)).map(|_| random.next() as u8).collect();
        let bytes = match random.below(4) {
            0 => junk,
            1 => [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &junk].concat(),
            2 => b"POST /nn.v1.Coordinator/Work HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            _ => Vec::new(),
        };
        let _ = peer.write_all(&bytes); // the coordinator may disconnect it in the middle
        peers.push(peer);
    }
    thread::sleep(lasts);
}
