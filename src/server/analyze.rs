//! `Analyze`: one call a stream.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _, future, stream};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tracing::Instrument as _;

use super::{
    convert,
    proto::{AnalyzeConfig, AnalyzeRequest, AnalyzeResponse, analyze_request::Message},
    status::{self, Problem},
};
use crate::{
    session::{Acknowledgement, End, Fault, Input, Refusal, Sessions},
    telemetry::trace,
};

/// Responses to one call, then the status it closes with.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<AnalyzeResponse, Status>> + Send>>;

/// Messages between a call's task and the transport. What waits beyond is kept by the task, where old events can be dropped.
const HANDOVER: usize = 1;

/// Starts the task of a call. The stream is answered at once, so that a client may wait for the headers before it sends.
pub(super) fn analyze(sessions: &Sessions, requests: Streaming<AnalyzeRequest>, parent: &trace::Parent) -> Responses {
    let (sender, responses) = mpsc::channel(HANDOVER);
    let (ended, end) = oneshot::channel();
    let of_task = sessions.clone();
    let (span, traced) = trace::call(parent);
    let task = async move {
        let end = converse(&of_task, requests, traced, sender).await;
        // A client that has gone needs no status.
        let _ = ended.send(end);
    };
    sessions.spawn(task.instrument(span));
    let end = stream::once(end).filter_map(|end| {
        future::ready(match end {
            Ok(Ok(())) => None,
            Ok(Err(status)) => Some(Err(status)),
            // The task panicked.
            Err(_) => Some(Err(status::failed())),
        })
    });
    Box::pin(ReceiverStream::new(responses).map(Ok).chain(end))
}

async fn converse(
    sessions: &Sessions,
    mut requests: Streaming<AnalyzeRequest>,
    traced: Option<trace::Request>,
    sender: mpsc::Sender<AnalyzeResponse>,
) -> Result<(), Status> {
    let request = tokio::select! {
        config = config(sessions, &mut requests) => config.map(|config| registered(sessions, config)).and_then(convert::call),
        () = sender.closed() => return Ok(()),
    };
    if let Err(Problem::Wire(status)) = &request
        && status.code() == Code::Unavailable
    {
        // It was cut before it was a call.
        return Ok(());
    }
    let request = request.inspect_err(|problem| sessions.count_refusal(problem.refusal()))?;
    let session = sessions.open(&request).await.map_err(Problem::from)?.traced(traced);
    let acknowledgement = Arc::clone(session.acknowledgement());
    let of_inputs = Arc::clone(&acknowledgement);
    let inputs = requests.map(move |request| input(request, &of_inputs));
    let end = session.run(inputs, sender, move |message| convert::analyze_response(message, &acknowledgement)).await;
    if let End::Invalid(problem) = &end {
        tracing::info!(?problem, "the client broke the protocol");
    }
    status::of_end(end, &sessions.limits())
}

/// The configuration, with what was registered of its call and it leaves out.
fn registered(sessions: &Sessions, mut config: AnalyzeConfig) -> AnalyzeConfig {
    if let Some(known) = sessions.registration(&config.call_id) {
        convert::complete(&mut config, &known);
    }
    config
}

/// The first message.
async fn config(sessions: &Sessions, requests: &mut Streaming<AnalyzeRequest>) -> Result<AnalyzeConfig, Problem> {
    let idle = sessions.limits().idle_timeout;
    let first = tokio::select! {
        first = tokio::time::timeout(idle, requests.message()) => first.map_err(|_| Problem::NoConfig(idle))?,
        () = sessions.draining().cancelled() => return Err(Refusal::Draining.into()),
    };
    match first.map_err(Problem::Wire)?.map(|request| request.message) {
        Some(Some(Message::Config(config))) => Ok(config),
        Some(None) => Err(convert::no_message()),
        Some(Some(Message::Audio(_) | Message::Control(_))) | None => Err(Problem::ConfigExpected),
    }
}

fn input(request: Result<AnalyzeRequest, Status>, call: &Acknowledgement) -> Result<Input, Fault<Problem>> {
    match request {
        Ok(request) => convert::input(request, &call.legs).map_err(Fault::Invalid),
        // What tonic says of a message that it cannot take; all else is a stream that was cut (`whole`).
        Err(status) if matches!(status.code(), Code::OutOfRange | Code::Unimplemented | Code::Internal) => {
            Err(Fault::Invalid(Problem::Wire(status)))
        }
        Err(_) => Err(Fault::Gone),
    }
}
