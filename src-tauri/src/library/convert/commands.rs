//! What the page may ask of conversions.

use std::sync::Arc;

use lilims_convert::Mix;
use lilims_ipc::{Conversion, ConversionOffer, ConversionRequest, Error};
use tauri::{AppHandle, Manager, State};

use super::{Converter, Task, errors, job, offer};
use crate::library::commands::{Answer, blocking};
use crate::library::errors as library_errors;

/// What a model could become.
#[tauri::command]
pub(crate) async fn conversion_offer(
    app: AppHandle,
    name: String,
    is_weighed: bool,
) -> Answer<ConversionOffer> {
    blocking(&app, move |shelf| offer::offer(shelf.library()?, &name, is_weighed)).await
}

/// Makes room as the offer says, takes it, and starts the conversion.
#[tauri::command]
pub(crate) async fn convert(app: AppHandle, request: ConversionRequest) -> Answer<()> {
    let handle = app.clone();
    blocking(&app, move |shelf| {
        let converter = handle.state::<Converter>();
        converter.check_free()?;
        let library = Arc::clone(shelf.library()?);
        let wrong = |error| library_errors::of(&error);
        let mix: Mix = request.target.parse().map_err(|_| errors::not_there(&request.target))?;
        let entry = library.entry(&request.name).map_err(wrong)?;
        let bytes =
            offer::size(&entry, mix, request.is_weighed).map_err(|error| errors::of(&error))?;
        let converting =
            library.begin_conversion(&entry.name, &request.target, bytes).map_err(wrong)?;
        let task =
            Task { request: request.clone(), title: entry.title, source_bytes: entry.size_bytes };
        converter.start(task, move |cancel, on_stage| {
            job::run(&library, &converting, &request, mix, cancel, on_stage)
        })
    })
    .await
}

/// The conversion that runs, or the one that ended last.
#[tauri::command]
pub(crate) fn conversion(converter: State<'_, Converter>) -> Answer<Option<Conversion>> {
    Ok(converter.conversion())
}

/// Has the conversion that runs end. One that has its model already goes without its figures.
#[tauri::command]
pub(crate) fn cancel_conversion(converter: State<'_, Converter>) -> Answer<()> {
    converter.cancel();
    Ok(())
}

/// Forgets a conversion that has ended. Its model stays.
#[tauri::command]
pub(crate) fn clear_conversion(converter: State<'_, Converter>) -> Answer<()> {
    converter.clear();
    Ok(())
}

/// Refuses what would take a model away while it is converted.
pub(in crate::library) fn check_not_converted(
    converter: &Converter,
    name: &str,
) -> Result<(), Error> {
    match converter.conversion() {
        Some(conversion) if converter.converts(name) => Err(errors::is_source(&conversion.title)),
        _ => Ok(()),
    }
}
