//! The bytes of datagrams on their way, in memory that is used again.

/// Names the bytes of one datagram; given back to the [`Payloads`] once it was read or lost.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "bytes that are not given back are lost to later datagrams"]
pub(crate) struct Payload(u32);

/// All datagrams on their way.
#[derive(Debug, Default)]
pub(crate) struct Payloads {
    slots: Vec<Vec<u8>>,
    free: Vec<u32>,
}

impl Payloads {
    /// Keeps a copy of these bytes.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Payload {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Vec::new());
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 datagrams at once")
        });
        let kept = &mut self.slots[slot as usize];
        kept.clear();
        kept.extend_from_slice(bytes);
        Payload(slot)
    }

    /// The bytes, to be read; [`Payloads::give_back`] takes them again.
    pub(crate) fn take(&mut self, payload: &Payload) -> Vec<u8> {
        std::mem::take(&mut self.slots[payload.0 as usize])
    }

    /// The bytes are not needed any more, their memory is.
    pub(crate) fn give_back(&mut self, Payload(slot): Payload, bytes: Vec<u8>) {
        self.slots[slot as usize] = bytes;
        self.free.push(slot);
    }

    /// The datagram is not read by anybody.
    pub(crate) fn drop_unread(&mut self, Payload(slot): Payload) {
        self.free.push(slot);
    }
}
