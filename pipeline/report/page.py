"""One page about a run: self-contained, opens without a network, leaves nothing that happened out."""

from importlib.resources import files

import jinja2
from markupsafe import Markup

from infra.objects import write_bytes
from pipeline.report import charts, verdict
from pipeline.report import views as report_views
from pipeline.report.facts import ReportData
from pipeline.timecode import show_clock, show_duration


def write_report(data: ReportData, path: str) -> int:
    """Write the page to a file or URI; returns its size in bytes."""
    page = render(data).encode()
    write_bytes(path, page)
    return len(page)


def render(data: ReportData) -> str:
    """The page as HTML."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            style=Markup(_template("style.css")),
            findings=verdict.judge(data.weights),
            figures=report_views.key_figures(data.weights),
            table=report_views.metrics_table(data),
            loss_charts=[report_views.loss_chart(curves) for curves in report_views.grouped(data.curves)],
            line_charts=report_views.line_charts(data.lines),
            search_charts=report_views.search_charts(data.search) if data.search else [],
            samples=[report_views.sample_view(clip) for clip in data.samples],
            examples=report_views.example_views(data),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "thousands": "{:,}".format,
        "size": report_views.show_size,
        "duration": show_duration,
        "clock": show_clock,
    }
    environment.globals |= {
        "chart_width": charts.WIDTH,
        "chart_height": charts.HEIGHT,
        "search_cell": report_views.search_cell,
        "label_heights": charts.label_heights,
        "max_rejects": report_views.MAX_REJECTS,
        "path": charts.path,
        "band_path": charts.band_path,
    }
    return environment


def _template(name: str) -> str:
    return files("pipeline").joinpath("templates", name).read_text(encoding="utf-8")
