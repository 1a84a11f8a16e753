//! The gRPC service: each method in a line or two.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming, async_trait};
use tracing::Instrument as _;

use super::{
    analyze, convert,
    proto::{
        AnalyzeRequest, ClassifyRequest, ClassifyResponse, GetModelRequest, GetModelResponse, ListModelsRequest,
        ListModelsResponse, emotion_service_server::EmotionService,
    },
    status::Problem,
};
use crate::{session::Sessions, telemetry::trace};

/// `undertone.v1.EmotionService` over one server's sessions.
pub(super) struct Service {
    sessions: Sessions,
}

impl Service {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

#[async_trait]
impl EmotionService for Service {
    type AnalyzeStream = analyze::Responses;

    async fn analyze(
        &self,
        request: Request<Streaming<AnalyzeRequest>>,
    ) -> Result<Response<Self::AnalyzeStream>, Status> {
        let parent = parent(&request);
        Ok(Response::new(analyze::analyze(&self.sessions, request.into_inner(), &parent)))
    }

    async fn classify(&self, request: Request<ClassifyRequest>) -> Result<Response<ClassifyResponse>, Status> {
        let (span, traced) = trace::classify(&parent(&request));
        let classify = async {
            let recording = convert::recording(request.into_inner());
            let recording = recording.inspect_err(|problem| self.sessions.count_refusal(problem.refusal()))?;
            let classification = self.sessions.classify(recording, traced).await.map_err(Problem::from)?;
            Ok(Response::new(convert::classify_response(classification)))
        };
        classify.instrument(span).await
    }

    async fn list_models(&self, _: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        let models = self.sessions.engines().models().iter().map(|model| convert::model(model)).collect();
        Ok(Response::new(ListModelsResponse { models }))
    }

    async fn get_model(&self, request: Request<GetModelRequest>) -> Result<Response<GetModelResponse>, Status> {
        let name = request.into_inner().name;
        let model = self.sessions.engines().model(Some(&name)).map(Arc::clone).map_err(Problem::from)?;
        Ok(Response::new(GetModelResponse { model: Some(convert::model(&model)) }))
    }
}

/// What caused a request, by its metadata.
fn parent<T>(request: &Request<T>) -> trace::Parent {
    trace::Parent::read(|name| request.metadata().get(name)?.to_str().ok())
}
