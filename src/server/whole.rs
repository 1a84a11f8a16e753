//! Requests whose clients ended them, told from those that were cut off.
//!
//! | the client's stream | hyper and tonic alone | here |
//! |---|---|---|
//! | END_STREAM (half-close) | the end | the end |
//! | RST_STREAM with NO_ERROR | the end | UNAVAILABLE |
//! | RST_STREAM with CANCEL (its deadline, its own cancel, a proxy) | the end | UNAVAILABLE |
//! | RST_STREAM with another code | INTERNAL, as for a message that cannot be decoded | UNAVAILABLE |
//! | the connection breaks | UNKNOWN or the like | UNAVAILABLE |
//!
//! So a call that was cut can be kept, and one that was ended is over (RFC 9113, sections 5.1 and 8.1).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http::Request},
    server::NamedService,
};

/// A service that is told of every cut.
#[derive(Clone)]
pub(super) struct Whole<S>(pub(super) S);

/// A body that ends only where its client ended it.
struct Ended(Body);

impl<S: Service<Request<Body>>> Service<Request<Body>> for Whole<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request.map(|body| Body::new(Ended(body))))
    }
}

impl<S: NamedService> NamedService for Whole<S> {
    const NAME: &'static str = S::NAME;
}

impl http_body::Body for Ended {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_frame(context)) {
            Some(frame) => Some(frame.map_err(|error| cut(&error.to_string()))),
            None if self.0.is_end_stream() => None,
            None => Some(Err(cut("reset without an error"))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn cut(why: &str) -> Status {
    Status::unavailable(format!("the request's stream was cut: {why}"))
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, task::Waker};

    use super::*;

    /// A body of these frames, after which its stream was ended or not.
    struct Told {
        frames: VecDeque<Result<Frame<Bytes>, Status>>,
        ended: bool,
    }

    impl http_body::Body for Told {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.frames.pop_front())
        }

        fn is_end_stream(&self) -> bool {
            self.ended && self.frames.is_empty()
        }
    }

    /// Data frames that come, and whether the end after them is one.
    fn heard(frames: Vec<Result<Frame<Bytes>, Status>>, ended: bool) -> (usize, bool) {
        let mut body = Ended(Body::new(Told { frames: frames.into(), ended }));
        let mut context = Context::from_waker(Waker::noop());
        let mut data = 0;
        loop {
            match http_body::Body::poll_frame(Pin::new(&mut body), &mut context) {
                Poll::Ready(Some(Ok(_))) => data += 1,
                Poll::Ready(Some(Err(status))) => {
                    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
                    return (data, false);
                }
                Poll::Ready(None) => return (data, true),
                Poll::Pending => panic!("nothing is pending"),
            }
        }
    }

    #[test]
    fn only_what_was_ended_ends() {
        let data = || Ok(Frame::data(Bytes::from_static(b"audio")));
        assert_eq!(heard(vec![data(), data()], true), (2, true));
        assert_eq!(heard(vec![data(), data()], false), (2, false));
        for fault in [Status::cancelled("reset"), Status::internal("reset"), Status::unknown("broken")] {
            assert_eq!(heard(vec![data(), Err(fault)], true), (1, false));
        }
    }
}
