"""Registration: a person opens an invitation, answers some questions, and joins.

The answers are kept in the state of the conversation, so that neither a restart of the bot nor a
code that expires in the meantime loses them.
"""

from collections.abc import Sequence
from typing import Any

from aiogram import Bot, F, Router
from aiogram.filters import CommandObject, CommandStart
from aiogram.filters.callback_data import CallbackData
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.types import (
    BotCommand,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
    User,
)

from community_directory.bot.answers import (
    edit,
    in_rows,
    is_from,
    join_lines,
    make_button,
    make_keyboard,
    refuse_old_button,
    remove_buttons,
    shorten,
)
from community_directory.bot.fields import FIELDS, clean_value, show_value, suggest_values
from community_directory.bot.membership import IN_PRIVATE_CHAT, describe_status
from community_directory.error_texts import gettext_noop
from community_directory.errors import (
    AlreadyMember,
    InvalidInput,
    InvitationError,
    UserError,
)
from community_directory.language import Translation
from community_directory.queries import invitations, members
from community_directory.queries.identifiers import normalize_invitation_code
from community_directory.queries.members import Member
from community_directory.settings import load_settings

router = Router(name="registration")
router.message.filter(IN_PRIVATE_CHAT)
commands = [BotCommand(command="start", description=gettext_noop("Join with an invitation"))]

STEPS = (*FIELDS, "summary")
"""The questions, and the summary of the answers."""


class Registration(StatesGroup):
    """The states of a registration; its data say which question is open."""

    answering = State()


class JoinButton(CallbackData, prefix="join"):
    """A button under a question.

    Attributes:
        action: "choose" a suggestion, "skip", go "back", "cancel", or "join".
        step: The question.
        choice: The number of the suggestion.
    """

    action: str
    step: str
    choice: int = 0


class Interview:
    """The conversation with one person who joins.

    Its data are the code, the answers, the open question (`step`), the suggestions below it
    (`options`), and the id of the message that asks it (`question`).
    """

    def __init__(self, bot: Bot, state: FSMContext, translation: Translation, user: User) -> None:
        self.bot, self.state, self.translation, self.user = bot, state, translation, user

    async def begin(self, code: str) -> None:
        """Check a code, and ask the first question that has no answer yet.

        Raises:
            UserError: The person can't redeem the code; the sentence says why, and what to do.
        """
        user = self.user
        try:
            check = await invitations.check(
                code, telegram_id=user.id, telegram_username=user.username
            )
        except AlreadyMember as error:
            await self.say(describe_status(await members.get(error.member_id), self.translation))
            return
        if check.member is not None:
            await self.say(describe_status(check.member, self.translation))
            return
        earlier = await self.state.get_data()
        await remove_buttons(self.bot, user.id, earlier.get("question"))
        answers = earlier.get("answers", {})
        data = {"code": check.invitation.invitation_code, "answers": answers}
        step = next(step for step in STEPS if step not in answers)
        greeting = self.translation.gettext(
            "{inviter} invites you to {community}.",
            inviter=shorten(check.inviter.name),
            community=load_settings().site_name,
        )
        await self.ask(data, step, intro=greeting)

    async def ask(
        self,
        data: dict[str, Any],
        step: str,
        *,
        intro: str | None = None,
        query: CallbackQuery | None = None,
    ) -> None:
        """Ask a question, or show the summary, and remember which one is open.

        Args:
            data: The code and the answers.
            step: The question.
            intro: A text above the question.
            query: The press of a button whose message becomes the question.
        """
        options: list[str] = []
        if step == "summary":
            text, keyboard = self._summarize(data["answers"])
        else:
            options = await suggest_values(step, self.user, self.translation)
            text = self.translation.gettext(FIELDS[step].question)
            keyboard = self._make_choices(step, options)
        text = join_lines([intro, "", text] if intro else [text])
        if query is not None:
            question = await edit(query, self.bot, text, keyboard)
        else:
            question = await self.say(text, keyboard)
        data |= {"step": step, "options": options, "question": question}
        await self.state.set_data(data)
        await self.state.set_state(Registration.answering)

    async def answer(
        self, data: dict[str, Any], value: str | None, query: CallbackQuery | None = None
    ) -> None:
        """Store the answer to the open question, and ask the next one."""
        step = data["step"]
        data["answers"][step] = None if value is None else clean_value(step, value)
        following = STEPS[STEPS.index(step) + 1]
        await self.ask(data, following, query=query)

    async def join(self, data: dict[str, Any], query: CallbackQuery) -> None:
        """Redeem the code with the answers.

        If a value is refused, its question is asked again. If the code can't be redeemed any more,
        the answers are kept for another code.
        """
        try:
            redemption = await invitations.redeem(
                data["code"],
                telegram_id=self.user.id,
                telegram_username=self.user.username,
                **data["answers"],
            )
        except InvalidInput as error:
            step = error.field if error.field in FIELDS else STEPS[0]
            await self.ask(data, step, intro=self.translation.error(error), query=query)
        except UserError as error:
            await edit(query, self.bot, self.translation.error(error))
            await self.state.set_state(None)
            kept = data["answers"] if isinstance(error, InvitationError) else {}
            await self.state.set_data({"answers": kept} if kept else {})
        else:
            await self.state.clear()
            await edit(query, self.bot, self._welcome(redemption.member))

    async def say(self, text: str, keyboard: InlineKeyboardMarkup | None = None) -> int:
        """Send a message, and return its id."""
        return (await self.bot.send_message(self.user.id, text, reply_markup=keyboard)).message_id

    def _make_choices(self, step: str, options: Sequence[str]) -> InlineKeyboardMarkup:
        """Return the buttons under a question."""
        choices = [
            make_button(
                show_value(step, option, self.translation),
                JoinButton(action="choose", step=step, choice=number),
            )
            for number, option in enumerate(options)
        ]
        skip = make_button(self.translation.gettext("Skip"), JoinButton(action="skip", step=step))
        return make_keyboard(
            *in_rows(choices), [] if FIELDS[step].is_required else [skip], self._navigate(step)
        )

    def _summarize(self, answers: dict[str, str | None]) -> tuple[str, InlineKeyboardMarkup]:
        """Return the summary of the answers, and the buttons below it."""
        gettext = self.translation.gettext
        lines = [gettext("Is this right?"), ""]
        lines += [
            f"{gettext(field.label)}: {show_value(name, answers[name], self.translation)}"
            for name, field in FIELDS.items()
        ]
        join = make_button(gettext("Join"), JoinButton(action="join", step="summary"))
        return join_lines(lines), make_keyboard([join], self._navigate("summary"))

    def _navigate(self, step: str) -> list[InlineKeyboardButton]:
        """Return the buttons that lead back and out."""
        back = make_button(self.translation.gettext("Back"), JoinButton(action="back", step=step))
        cancel = make_button(
            self.translation.gettext("Cancel"), JoinButton(action="cancel", step=step)
        )
        return [cancel] if step == STEPS[0] else [back, cancel]

    def _welcome(self, member: Member) -> str:
        """Return what a person reads who has joined."""
        welcome = self.translation.gettext(
            "Welcome, {name}! Your number is {number}.",
            name=shorten(member.name),
            number=member.member_id,
        )
        return f"{welcome}\n\n{describe_status(member, self.translation)}"


@router.message(CommandStart())
async def open_invitation(
    message: Message,
    *,
    command: CommandObject,
    bot: Bot,
    state: FSMContext,
    translation: Translation,
    event_from_user: User,
    member: Member | None,
) -> None:
    """Begin a registration with the code of a link, go on with one, or say what this is."""
    interview = Interview(bot, state, translation, event_from_user)
    if command.args:
        await interview.begin(command.args)
    elif await state.get_state() == Registration.answering.state:
        data = await state.get_data()
        await remove_buttons(bot, event_from_user.id, data.get("question"))
        await interview.ask(data, data["step"])
    else:
        await message.answer(describe_status(member, translation))


@router.message(Registration.answering, F.text, ~F.text.startswith("/"))
async def read_answer(
    message: Message,
    *,
    bot: Bot,
    state: FSMContext,
    translation: Translation,
    event_from_user: User,
) -> None:
    """Take what a person writes as the answer to the open question."""
    interview = Interview(bot, state, translation, event_from_user)
    data = await state.get_data()
    if data["step"] == "summary":
        await message.answer(translation.gettext("Press one of the buttons above."))
        return
    question = data["question"]
    await interview.answer(data, message.text or "")
    await remove_buttons(bot, event_from_user.id, question)


@router.callback_query(JoinButton.filter())
async def press(
    query: CallbackQuery,
    *,
    callback_data: JoinButton,
    bot: Bot,
    state: FSMContext,
    translation: Translation,
) -> None:
    """Handle a button under the open question; any other one is out of date."""
    interview = Interview(bot, state, translation, query.from_user)
    data = await state.get_data()
    step = data.get("step")
    if callback_data.step != step or not is_from(query, data.get("question")):
        await refuse_old_button(query, translation)
        return
    match callback_data.action:
        case "choose" if 0 <= callback_data.choice < len(data["options"]):
            await interview.answer(data, data["options"][callback_data.choice], query)
        case "skip" if step in FIELDS and not FIELDS[step].is_required:
            await interview.answer(data, None, query)
        case "back" if step != STEPS[0]:
            await interview.ask(data, STEPS[STEPS.index(step) - 1], query=query)
        case "join" if step == "summary":
            await interview.join(data, query)
        case "cancel":
            await state.clear()
            text = translation.gettext(
                "Cancelled. Nothing was stored. Open the link to begin again."
            )
            await edit(query, bot, text)
        case _:
            await refuse_old_button(query, translation)


def looks_like_code(text: str) -> bool:
    """Return whether a text may be an invitation's code or the link with one."""
    return normalize_invitation_code(text) is not None
