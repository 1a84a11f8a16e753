//! How long a message of each method of the emotion service may be. A longer one is refused by the length that stands before it, so that it is
//! never in memory.

use std::task::{Context, Poll};

use tonic::{
    body::Body,
    codegen::{Service as HttpService, http::Request},
    server::NamedService,
};

use super::{proto::emotion_service_server::EmotionServiceServer, service::Service};
use crate::session::Sessions;

/// A configuration, or a chunk of 256 KiB: twice that, so that who sends a chunk a little too long gets an answer that names the field.
const ANALYZE_BYTES: usize = 512 * 1024;
/// A recording of 4 MiB, and what is a little too long for our own answer.
const CLASSIFY_BYTES: usize = 8 * 1024 * 1024;
/// As the proto names it.
const ANALYZE: &str = "/undertone.v1.EmotionService/Analyze";

/// The emotion service, its messages bounded.
#[derive(Clone)]
pub(super) struct Bounded {
    analyze: EmotionServiceServer<Service>,
    others: EmotionServiceServer<Service>,
}

impl Bounded {
    pub(super) fn new(sessions: &Sessions) -> Self {
        let up_to = |bytes| EmotionServiceServer::new(Service::new(sessions.clone())).max_decoding_message_size(bytes);
        Self { analyze: up_to(ANALYZE_BYTES), others: up_to(CLASSIFY_BYTES) }
    }
}

impl HttpService<Request<Body>> for Bounded {
    type Response = <EmotionServiceServer<Service> as HttpService<Request<Body>>>::Response;
    type Error = <EmotionServiceServer<Service> as HttpService<Request<Body>>>::Error;
    type Future = <EmotionServiceServer<Service> as HttpService<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Both always are: tonic's services hold no place for a request.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let of_method = if request.uri().path() == ANALYZE { &mut self.analyze } else { &mut self.others };
        of_method.call(request)
    }
}

impl NamedService for Bounded {
    const NAME: &'static str = <EmotionServiceServer<Service> as NamedService>::NAME;
}
