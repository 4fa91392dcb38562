"""The cards of ten agents, one per domain of CLINC150, as their makers would write them.

Written by hand from the names of each domain's intents, as somebody knows what an agent is made
for; not mined from the requests.
"""

from domain.choosing.cards import Card

_SAYS: dict[str, tuple[str, str]] = {
    "banking": (
        "Bank accounts. Answers questions about checking and savings accounts: balance, "
        "transactions, spending history, routing number, PIN, interest rate. Pays bills, "
        "transfers money between accounts, orders checks, freezes or unblocks an account, "
        "reports fraud.",
        "bank account balance checking savings deposit transfer money transaction purchase "
        "spending spent pay bill due minimum payment electric bill routing number pin change "
        "freeze hold blocked fraud fraudulent interest rate order checks checkbook",
    ),
    "credit_cards": (
        "Credit cards. Applications for a new card, credit limit, credit score, APR, rewards and "
        "points, lost, stolen, damaged or declined cards, replacement, expiration date, foreign "
        "fees.",
        "credit card visa mastercard amex limit increase raise score rating apr annual "
        "percentage rewards points redeem cash back lost stolen report damaged cracked declined "
        "replacement expire expiration application apply approved status international foreign "
        "transaction fees",
    ),
    "kitchen_and_dining": (
        "Cooking and eating out. Recipes, ingredients, substitutions, cooking time, calories and "
        "nutrition, how long food lasts; finds restaurants, their reviews and how busy they are, "
        "books, confirms and cancels tables.",
        "recipe cook bake food meal dinner lunch breakfast dish ingredients substitute calories "
        "nutrition healthy fat sugar carbs protein eat fridge spoil last restaurant reservation "
        "table reserve book confirm cancel reviews busy wait menu pizza chicken cake italian "
        "chinese mexican",
    ),
    "home": (
        "The household. Plays music and manages playlists, keeps the to-do list, shopping list, "
        "calendar and reminders, switches lights and other smart devices, orders things and "
        "tracks deliveries.",
        "music song play playlist next skip artist todo list tasks chores shopping list "
        "groceries add remove calendar events schedule appointment remind reminder lights lamp "
        "thermostat turn on off smart home order buy amazon package delivery track shipped",
    ),
    "auto_and_commute": (
        "Car and way to work. Traffic, directions, distance, current location, rides with uber, "
        "gas, fuel economy, oil change, tires, maintenance, jump starting a battery.",
        "car vehicle truck drive traffic commute route road highway directions distance far "
        "miles get to how long location where am uber lyft taxi cab ride gas fuel tank gallon "
        "mpg mileage oil change tire pressure flat air maintenance mechanic service engine "
        "battery jump start",
    ),
    "travel": (
        "Trips. Books flights, hotels and rental cars; flight status, luggage, carry-on rules, "
        "visas, vaccinations, travel alerts, plugs, exchange rates, time zones, translations, "
        "what to see, telling the bank about a trip.",
        "travel trip vacation visit flight plane fly airline airport book hotel room stay rental "
        "car rent luggage suitcase bag lost carry on visa passport vaccine shots travel alert "
        "safe plug converter socket outlet exchange rate currency dollars euros yen time zone "
        "timezone translate say in spanish french tourist sightseeing country abroad notify "
        "notification",
    ),
    "utility": (
        "Small everyday tools. Weather, time and date, alarm, timer, calculator, unit "
        "conversion, definitions and spelling, phone calls and text messages, find my phone, "
        "share location, flip a coin, roll dice.",
        "weather forecast rain temperature hot cold snow time clock date day today alarm wake "
        "timer minutes set countdown calculate math plus minus times divided multiply square "
        "root sum convert inches feet pounds ounces meters cups definition define meaning word "
        "mean spell spelling call phone dial text message send find lost phone share location "
        "flip coin heads tails roll dice die sided",
    ),
    "work": (
        "Job and human resources. Vacation days and PTO requests and balance, holidays, payday, "
        "income, salary, direct deposit, W2 form, taxes, health insurance, 401k rollover, "
        "meetings.",
        "work job boss company pto vacation days time off paid request balance used left sick "
        "holiday payday paycheck paid salary income earn wage direct deposit w2 form tax taxes "
        "state federal insurance health plan benefits coverage 401k rollover retirement meeting "
        "schedule room conference meetings",
    ),
    "small_talk": (
        "Chat about the assistant and life. Greetings, thanks, goodbye, jokes, fun facts, "
        "meaning of life; who the assistant is: name, age, origin, maker, employer, hobbies, "
        "pets, whether it is a robot.",
        "hello hi hey greetings good morning how are you thanks thank appreciate goodbye bye see "
        "you later nice talking joke funny laugh fun fact interesting tell me something meaning "
        "of life purpose who made created you what is your name how old age where are you from "
        "born who do you work for boss hobbies fun do you have pets dog cat are you a robot bot "
        "computer human real person ai what can you do ask help topics",
    ),
    "meta": (
        "Settings of the assistant itself. Volume, speaking speed, language, accent, whisper "
        "mode, device sync, reset to factory settings, its name and the user's name; yes, no, "
        "maybe, cancel, repeat.",
        "change volume louder quieter speaker loud turn up down speed talk faster slower slow "
        "speak language accent british male female voice whisper mode sync connect pair device "
        "phone reset factory settings default original my name is call me remember your name "
        "change call you rename yes yeah yep correct true right no nope false wrong maybe not "
        "sure perhaps unsure cancel stop forget never mind repeat again say that what did you "
        "say",
    ),
}
"""By domain: a description, and words for what it can do."""


def cards() -> list[Card]:
    """Return a card per domain."""
    return [Card(domain, f"{says} {can}") for domain, (says, can) in _SAYS.items()]
