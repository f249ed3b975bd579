"""Pictures that the bot sends."""

from collections.abc import Mapping
from datetime import date, timedelta
from io import BytesIO

from babel import Locale
from babel.dates import format_date
from PIL import Image, ImageDraw, ImageFont

WEEKS = 16
"""The number of weeks in the picture of a member's activity."""
CELL, GAP, MARGIN, HEADING = 30, 6, 24, 30
"""Sizes in pixels: of a day, between days, around all of them, and of the line of months."""
BACKGROUND, EMPTY, TEXT = "#2f3744", "#465163", "#dfe5ee"
"""Colours that are neither glaring on a dark screen nor dull on a light one."""
LEVELS = ("#2c7a6b", "#35a58d", "#4fcbae", "#a5f0dc")
"""The colours of a day, from the least to the most active one."""


def first_day(today: date, locale: Locale) -> date:
    """Return the first day of the picture: that of a week, as the locale begins it."""
    weekday = (today.weekday() - locale.first_week_day) % 7
    return today - timedelta(days=weekday, weeks=WEEKS - 1)


def draw_activity(counts: Mapping[date, int], today: date, locale: Locale) -> bytes:
    """Draw the days of the last weeks, a column for each week, as a PNG.

    Args:
        counts: The number of events of each day with events.
        today: The last day.
        locale: The locale of the names of months and of the first day of a week.
    """
    since = first_day(today, locale)
    step = CELL + GAP
    size = (2 * MARGIN + WEEKS * step - GAP, 2 * MARGIN + HEADING + 7 * step - GAP)
    image = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=18)
    most = max(counts.values(), default=0)
    for number in range((today - since).days + 1):
        day = since + timedelta(days=number)
        week, weekday = divmod(number, 7)
        left, top = MARGIN + week * step, MARGIN + HEADING + weekday * step
        draw.rounded_rectangle(
            (left, top, left + CELL, top + CELL), 6, fill=_colour(counts.get(day, 0), most)
        )
        if day.day == 1 and week < WEEKS - 1:
            month = format_date(day, "MMM", locale=locale)
            draw.text((left, MARGIN), month, fill=TEXT, font=font)
    written = BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


def _colour(count: int, most: int) -> str:
    """Return the colour of a day, by its share of the most active day."""
    if count == 0:
        return EMPTY
    return LEVELS[min(count * len(LEVELS) // (most + 1), len(LEVELS) - 1)]
