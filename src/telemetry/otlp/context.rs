//! W3C Trace Context: the header `traceparent`.
//!
//! Owns its text. The propagator of `opentelemetry_sdk` takes texts that the specification refuses,
//! and allocates for each request, so that the 55 bytes are read here. `tracestate` is passed on
//! unread.

use opentelemetry::{SpanId, TraceId};

/// Bytes of the header in the version that is known; later ones may have more.
const LENGTH: usize = 55;

/// A span, as others refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// Its trace is exported.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Reads the value of a header; `None` when it is malformed, which counts as no header at all.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let head = value.get(..LENGTH)?;
        let is_well_formed = head.iter().enumerate().all(|(index, byte)| match index {
            2 | 35 | 52 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
        let ends_there = match &head[..2] {
            b"00" => value.len() == LENGTH,
            b"ff" => false,
            _ => value.get(LENGTH).is_none_or(|byte| *byte == b'-'),
        };
        if !is_well_formed || !ends_there {
            return None;
        }
        let head = std::str::from_utf8(head).ok()?;
        let context = Self {
            trace: TraceId::from_hex(&head[3..35]).ok()?,
            span: SpanId::from_hex(&head[36..52]).ok()?,
            is_sampled: u8::from_str_radix(&head[53..55], 16).ok()? & 1 == 1,
        };
        let is_one = context.trace != TraceId::INVALID && context.span != SpanId::INVALID;
        is_one.then_some(context)
    }

    /// The value of the header.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }

    /// The id of the trace: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    /// The id of the span: 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        self.span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_header_reads_as_it_was_written() {
        for flags in ["00", "01"] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            let context = TraceContext::parse(text.as_bytes()).unwrap();
            assert_eq!(context.traceparent(), text);
            assert_eq!((context.trace_id().as_str(), context.span_id().as_str()), (TRACE, SPAN));
            assert_eq!(context.is_sampled, flags == "01");
        }
    }

    #[test]
    fn later_versions_may_say_more_and_unknown_flags_go() {
        for text in [
            format!("01-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-ff-more"),
            format!("00-{TRACE}-{SPAN}-03"),
        ] {
            let context = TraceContext::parse(text.as_bytes()).unwrap();
            assert_eq!(context.traceparent(), format!("00-{TRACE}-{SPAN}-01"), "{text}");
        }
    }

    #[test]
    fn one_wrong_byte_is_none_or_another_span() {
        let sound = format!("00-{TRACE}-{SPAN}-01").into_bytes();
        for (index, byte) in (0..sound.len()).flat_map(|at| (0..=u8::MAX).map(move |it| (at, it))) {
            let mut changed = sound.clone();
            changed[index] = byte;
            assert_eq!(TraceContext::parse(&changed[..index]), None);
            if let Some(context) = TraceContext::parse(&changed) {
                let written = context.traceparent();
                assert_eq!(TraceContext::parse(written.as_bytes()), Some(context));
                // Versions and flags that are not known are not passed on.
                assert_eq!(written.as_bytes()[2..53], changed[2..53]);
            }
        }
    }

    #[test]
    fn what_is_malformed_is_none() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{TRACE}-{SPAN}-0\u{e9}"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("+0-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text}");
        }
    }
}
