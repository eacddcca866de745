"""Requests beyond a text model's reach: acts in the world, the moment's news, the asker's own life.

`unanswerable.action` has the acts since version 1; here stand those since version 2. An act counts
with its object: a person to be reached, a device, a thing that somebody owns. A request that also
asks for a text ("turn on the charm and write …") is answered by that text.
"""

import re

from localinstruct.curate.absent import HOLDS_MATERIAL

_MOMENT = (
    r"(?:right now|now|today|tonight|tomorrow|at the moment|currently|this (?:morning"
    r"|evening|week))"
)
_BEYOND = re.compile(
    r"(?:please |hey,? |can you |could you )?(?:"
    # facts of the moment
    rf"(?:what|how)(?:['’]s| is| are| will)\b[^.?!]{{0,30}}\b(?:weather|temperature|forecast"
    rf"|traffic)\b"
    rf"[^.?!]{{0,40}}\b{_MOMENT}"
    r"|what(?:['’]s| is) the (?:current|latest|live|today['’]s) (?:weather|time|price|score"
    r"|traffic|stock"
    r"|exchange rate|value of|temperature|news)\b"
    rf"|what time is it\b|(?:is it|will it be) (?:raining|snowing|sunny|cold"
    rf"|warm)\b[^.?!]{{0,40}}\b{_MOMENT}"
    rf"|what(?:['’]s| is) the (?:score|weather|temperature|price|time|traffic|exchange"
    rf" rate)\b[^.?!]{{0,40}}\b{_MOMENT}"
    rf"|how (?:warm|cold|hot|windy) is it\b[^.?!]{{0,40}}\b{_MOMENT}"
    r"|(?:tell|read|give|show) me (?:today['’]s|the latest|my (?:last|next|new|unread))\b"
    r"|what(?:['’]s| is) on my (?:calendar|to-?do list|schedule|screen|desk)\b"
    r"|what am i (?:wearing|holding|doing|eating|looking at)\b"
    r"|who (?:won|is winning|scored)\b[^.?!]{0,60}\b(?:last night|yesterday|today|this"
    r" (?:morning|week))\b"
    # the asker's own life and things
    r"|where (?:did i (?:leave|put|park)|(?:are|is) my|am i)\b"
    r"|what (?:did i (?:have|eat|say|do|wear|buy|dream)|(?:is|are) in my (?:inbox|fridge"
    r"|pocket|bag|account))\b"
    r"|(?:tell me )?how much (?:money )?(?:is|do i have|have i)\b[^.?!]{0,20}\b(?:in|on) my\b"
    r"|(?:call|phone|text|check|search|read|delete|open|add|upload|download|print|sync"
    r"|scan)\b[^.?!:]{0,60}"
    r"\b(?:on|in|from|to|with|of)? ?my (?:phone|inbox|calendar|e-?mails?|contacts|account|desk"
    r"|camera"
    r"|cloud|drive|album|photos|gallery|computer|laptop|printer|fridge|voicemail)\b"
    # devices, shops and the network
    r"|(?:record|leave|send)(?: me)? (?:a|an|the) (?:voice|video|audio) (?:message|memo|note"
    r"|clip)\b"
    rf"|text (?-i:[A-Z])\w+ (?:that|to say)\b|google (?:the|for|a)\b"
    r"|dim (?:the|my|all)\b"
    r"|(?:turn|switch) (?:the|my) (?:\w+ ){1,2}(?:up|down|on|off)\b|take a screenshot\b"
    r"|play (?:some|me some|my) \w+\W*\Z|order me\b"
    r"|(?:search|browse|surf|check|scan) (?:the (?:web|internet|net)|online|google|youtube)\b"
    r"|(?:start|set|stop|pause|reset) (?:a|an|the|my) (?:\w+ )?(?:timer|stopwatch|alarm"
    r"|countdown)\b"
    r"|(?:open|close|lock|unlock|restart) (?:the|my|a) (?:browser|app|front door|door|window"
    r"|camera|garage)\b"
    r"|(?:show|send|play|find)(?: me)? (?:a|an|the|some) (?:videos?|films?|clips?|gifs?"
    r"|photos?|songs?)"
    r" (?:of|from|by|with)\b"
    r"|(?:buy|order|book|reserve)(?: me)? (?:a|an|some|two|three|four|\d+|the cheapest) (?:\w+"
    r" )?(?:tickets?|seats?"
    r"|rooms?|tables?|flights?|pizzas?|taxis?|flowers|groceries)\b"
    r")",
    re.IGNORECASE,
)
_BEGINS_BEYOND = re.compile(
    r"\s*(?:please|hey|can|could|what|how|is|will|who|where|tell|give|google|dim|turn|switch"
    r"|take|text|call|phone|text|check|search|read|delete"
    r"|open|add|upload|download|print|sync|scan|record|leave|send|browse|surf|start|set|stop"
    r"|pause|reset"
    r"|close|lock|unlock|restart|show|play|find|buy|order|book|reserve)\b",
    re.IGNORECASE,
)


_PERSON = (
    r"(?:(?:my|our|the|his|her) (?:\w+ )?(?:mum|mom|mother|dad|father|parents|sister|brother|wife"
    r"|husband|son"
    r"|daughter|aunt|uncle|grandma|grandpa|friend|boss|manager|landlord|landlady|neighbou?rs?"
    r"|doctor|dentist"
    r"|plumber|electrician|lawyer|teacher|supplier|bank|office|school|hotel|restaurant|pharmacy"
    r"|garage|vet"
    r"|accountant|colleagues?|team|client|customer|kids|babysitter|police|coach|trainer|nurse"
    r"|therapist|roommate|flatmate|partner|girlfriend|boyfriend|cousin|nephew|niece|tenant"
    r"|hospital|insurance|airline|gym|shop)"
    r"|him|her|them|everyone|(?-i:(?:Dr|Mr|Mrs|Ms)\.? [A-Z]\w+|[A-Z][a-z]+(?: [A-Z][a-z]+)?)"
    r"|customer (?:service|support)"
    r"|\+?\d[\d -]{2,14})"
)
_DEVICE = (
    r"(?:lights?|lamps?|tv|television|radio|heat(?:ing|er)|thermostat|volume|music|ac|air con\w*"
    r"|alarms?|oven"
    r"|fan|dishwasher|washing machine|dryer|computer|laptop|pc|phone|printer|router|wi-?fi|car"
    r"|engine"
    r"|vacuum(?: cleaner)?|robot|coffee (?:machine|maker)|kettle|shower|sprinklers?|camera"
    r"|speakers?|doors?"
    r"|gate|garage(?: door)?|windows?|blinds|curtains|shutters|fridge|freezer|stove|boiler"
    r"|toaster|screen"
    r"|monitor|bluetooth|tap|water|electricity|air purifier|projector|microwave|mower|treadmill)"
)
_WHEN = (
    r"(?: ?,? (?:please|now|right now|tonight|today|tomorrow(?: \w+){0,3}|later|at (?:once|noon"
    r"|midnight"
    r"|\d[\d:.]*(?: ?[ap]\.?m\.?)?|\w+)|on \w+day|next week|this \w+|(?:before|after|by"
    r"|until) \w+|for me"
    r"|in \w+ \w+|in (?:the|my) (?:\w+ ){0,2}\w+|to \d+ ?(?:%|percent|degrees)"
    r"|when \w+ [\w ]{2,20}"
    r"|from \w+ to \w+|every \w+|as soon as possible)){0,3}[.!?]*$"
)
_TEXTS_OF_MINE = (
    r"(?!(?:\w+ )?(?:sentence|essay|text|grammar|spelling|resume|cv|code|letter|paragraph|poem"
    r"|story|homework"
    r"|answer|mistakes?|writing|draft|recipe|mind|horizon|way|heart|opinion|choice|point|case"
    r"|goal|english|own"
    r"|name in|understanding|skills?|chances|knowledge)\b)"
)
_ACTS_FOR_ME = re.compile(
    r"(?:please |hey,? |can you |could you |would you )?(?:"
    # people to be reached
    rf"(?:call|phone|ring|dial|text|message|e-?mail|contact|notify|fax|whatsapp|facetime"
    rf"|ping) (?:up )?{_PERSON}"
    r"\b(?!['’]s\b)(?! (?:a|an) )"
    rf"|(?:give|let) {_PERSON} (?:a (?:call|ring|buzz|lift|ride|hug)|know (?:that )?(?:i|we)\b)"
    rf"|(?:make|get|set up) (?:me )?(?:a|an|the) (?:[\w-]+ )?(?:reservations?|bookings?"
    rf"|appointments?|cup of \w+|coffee|sandwich|tea|(?:phone |video "
    rf"|conference )?calls?)\b(?: (?:at|with|for|in|to)\b[^.?!:\n]{{0,40}})?{_WHEN}"
    rf"|(?:start|join|begin|end|hang up|schedule|record) (?:a|an|the|my) (?:[\w-]+ )?(?:calls?"
    rf"|meeting|stream|recording)\b[^.?!:\n]{{0,40}}[.!?]*$"
    rf"|(?:put|write|add|note) [^.?!:\n]{{1,40}} (?:on|to|in) my (?:[\w-]+ )?(?:list|calendar"
    rf"|diary|basket|cart|contacts|favou?rites|schedule|tab|bill)\b"
    rf"|(?:navigate|sail|fly|ride|cycle|hurry) (?:me )?to \w+|sign me (?:up|in|out)|log me (?:in"
    rf"|out)|enrol+ me|track (?:my|the) \w+"
    rf"|find (?:me |us )?(?:the|a) (?:cheapest|nearest|closest|next"
    rf"|fastest) (?:[\w-]+ )?(?:flights?|hotels?|restaurant|pharmacy|station|bus|train|caf[eé]"
    rf"|shop|store|atm|bank|hospital|route|way|room|tickets?|parking(?: lot)?|doctor|taxi|gym"
    rf"|petrol station)(?: (?:to|in|near|from|around) [^.?!:\n]{{2,30}})?[.!?]*$"
    rf"|fill (?:up )?(?:the|my) (?:car|tank|tub|bath|kettle)\b|turn the (?:thermostat|heating"
    rf"|volume|oven|ac|brightness) (?:to|up|down)\b"
    r"|(?:do|did|have|had) (?:i|we) (?:have|got|get|miss|receive|lock|leave|forget|pay|turn"
    r"|take)\b[^.:]{0,50}\?$"
    r"|how (?:many|much|long|far|often|well) (?:\w+ )?(?:did|have|do) i\b(?! (?:need|have to|add"
    r"|write|use|get|put))[^.:]{2,40}\?$"
    r"|who (?:\w+ )?(?:called|texted|rang|wrote|emailed|visited|messaged|is calling|is (?:with"
    r"|near|behind)) (?:to )?me\b"
    r"|(?:what|which|whose) (?:\w+ )?(?:colou?r|size|brand|kind|type|model|number|shape|one"
    r"|day) (?:is|are|was|were) my \w+\W*$"
    r"|(?:which|who|how many) of my \w+ (?:is|are|was|were|have|has|can|will)\b|(?:where"
    r"|how)(?:['’]s| is| are| was) my (?!best)\w+\W*$"
    r"|(?:what|who|which|is|are)(?:['’]s| is| are)?\b[^.:]{2,50}\b(?:playing|on tv|on television"
    r"|showing|performing|open|on sale) (?:[\w ]{1,25} )?(?:tonight|today|now|tomorrow"
    r"|this \w+)\W*$"
    rf"|(?:send|mail|forward|post|ship|deliver|give"
    rf"|drop)\b(?: off)? [^.?!:\n]{{0,50}}\bto {_PERSON}{_WHEN}"
    rf"|(?:pay|wire|tip|send|lend|transfer) (?:\w+ )?{_PERSON} [$€£]?\d"
    rf"|(?:tell|inform|ask|remind|thank|invite|meet|visit|pick up|drop off|collect"
    rf"|fetch) {_PERSON}\b(?! (?:a|an|about|how"
    rf"|why|what|whether)\b)[^.?!:\n]{{0,40}}\b(?:at|from|tonight|tomorrow|today|on \w+day|that i"
    rf"|to (?:call|bring|come))\b"
    # devices
    rf"|(?:turn|switch|power|shut) (?:on|off|up|down) (?:all )?(?:the |my |all |every "
    rf"|your )*(?:[\w-]+ ){{0,2}}?{_DEVICE}\b{_WHEN}"
    rf"|(?:turn|switch|power|shut) (?:the|my|all) (?:[\w-]+ ){{0,2}}?{_DEVICE} (?:on|off|up"
    rf"|down){_WHEN}"
    rf"|(?:start|stop|run|restart|reboot|reset|charge|lock|unlock|open|close|dim|raise|lower|mute"
    rf"|unmute|pause"
    rf"|activate|deactivate|unplug|preheat|set|connect|disconnect|brighten|clean|defrost) (?:the"
    rf"|my|all the|all"
    rf"|our) (?:[\w-]+ ){{0,2}}?{_DEVICE}\b{_WHEN}"
    rf"|(?:play|stream|put on|skip|shuffle) (?:some|me|my|a|an|the (?:next|last|latest|previous"
    rf"|new)|this) (?:[\w-]+ ){{0,3}}?\w+{_WHEN}"
    rf"|print (?:out )?(?:this|the|my|these|two|three|\d+) [^.?!:\n]{{0,30}}(?:page|document|file"
    rf"|report|letter|cop(?:y|ies)|ticket|pass"
    rf"|slides?|form|invoice|photos?)\b(?! (?:of|that) (?:the )?(?:string|list)){_WHEN}"
    # things of mine
    rf"|(?:drive|take|bring|fetch|get(?= (?:me|us) (?:a|an|some|two|the (?:latest|current)) )|buy"
    rf"|order|book|reserve|hail|cook|lend|hand|pass|wake|pick) (?:me|us)\b"
    rf"(?! (?:through|up to (?:date|speed)|an? (?:idea|list|example|answer|overview|summary"
    rf"|explanation|start))\b)[^.?!:\n]{{0,60}}[.!?]*$"
    rf"|(?:cancel|reschedule|postpone|confirm|renew|pick up|drop off|find|locate|show me|show"
    rf"|read(?: out| aloud| me)?|check"
    rf"|delete|empty|archive|back up|sync|post|pay|feed|wash|clean|walk|iron|repair|mow|update"
    rf"|charge|move|mark|unsubscribe|extend|return"
    rf"|book|sell|refill|water|vacuum|unpack|pack|schedule|add|download|upload|share|open|close"
    rf"|fix) (?:[\w -]{{0,40}}?(?:in|on|of|from|to|with) )?(?:all )?(?:my|our)"
    rf" {_TEXTS_OF_MINE}(?:(?:new|last|next|unread|old|old|front|first|two|three|recent"
    rf"|dental) )?(?:appointments?|reservations?|subscription|booking|flights?|order|meetings?"
    rf"|calls?|phone|keys?|wallet"
    rf"|glasses|bag|car|bike|messages?|e-?mails?|inbox|calendar|mail|photos?|pictures?|files?"
    rf"|account|bills?|rent|cats?|dogs?"
    rf"|plants?|clothes|shirts?|shoes|room|house|kitchen|lawn|garden|status|profile|page|playlist"
    rf"|contacts?|passport|parcel|package|laundry|shopping (?:list|cart)|voicemail|alarm"
    rf"|balance|instagram|facebook|twitter|linkedin|timeline|library book|desk|battery|fridge"
    rf"|insurance|membership|to-?do list|reminders?|dishes|suitcase|seat|table|notifications"
    rf"|downloads|trash|cloud|tablet|laptop|computer|sink|roof|tap|wall|network|router|bedroom"
    rf"|windows?|prescription)\b"
    rf"|(?:water|feed|mow|vacuum|sweep|mop|wash|walk|iron|clean|set|clear"
    rf"|empty) the (?:[\w-]+ )?(?:plants?|lawn|garden|floors?|dishes|laundry|carpet|dogs?|cats?"
    rf"|windows?|trash|bins?|dishwasher|table|car|bathroom|kitchen|shirts?|grass|flowers|fish"
    rf"|chickens)\b{_WHEN}"
    rf"|take (?:a|an|another) (?:photo|picture|selfie|screenshot)\b|take (?:out"
    rf"|down) the (?:trash|bins?|rubbish|garbage|laundry)\b"
    rf"|(?:post|tweet|upload|publish|share)\b[^.?!:\n]{{1,60}}\b(?:on|to) (?:my )?(?:instagram"
    rf"|facebook|twitter|x|linkedin|youtube|tiktok|whatsapp|slack)\b{_WHEN}"
    # what only the asker knows, or saw, or said
    r"|what(?:['’]s| is| are| was| were) my (?:\w+ )?(?:name|age|address|birthday|password|pin"
    r"|phone number|number|username|blood type"
    r"|favou?rite \w+|job|e-?mail|location|balance|weight|height|middle name|next \w+|last \w+"
    r"|previous \w+|first \w+|plans?|schedule|boss['’]s name)\b[^.:]{0,30}\?*$"
    r"|(?:how old am i|where do i (?:live|work)|who am i|do you (?:know|remember) (?:me|my"
    r"|where i|what i|who i)|do i have (?:any|an?) [\w ]{3,30}"
    r"(?:today|tomorrow|tonight|this week|left))\b"
    r"|(?:who|what)(?:['’]s| is| was)(?: that)? (?:\w+ ){0,2}?(?:behind|beside|next to"
    r"|in front of|near|above|knocking|calling|at my|on my|in my"
    r"|under my|outside my) ?(?:me|us|door|desk|head|hand|room|house|plate|screen|window|street"
    r"|yard|kitchen|cup|pocket|bag|fridge)?\b[?]*$"
    rf"|(?:what|when|where|who|why|how|which)(?: \w+)? did (?:i|we|you and i"
    rf"|{_PERSON})\b[^.:]{{2,50}}\b(?:yesterday|last (?:time|night|week|month|year|\w+day)"
    rf"|earlier|before|this morning"
    r"|for (?:breakfast|lunch|dinner)|today)\W*$"
    r"|(?:continue|go on with|resume|finish|repeat) (?:our|the|my) (?:\w+ )?(?:conversation|chat"
    r"|discussion|talk|last|previous)\b"
    r"|(?:what|which) (?:was|were|is) (?:my|your|our|the) (?:previous|last|first"
    r"|earlier) (?:question|message|answer|request|topic|prompt|reply)\b"
    # the present state of the world
    rf"|(?:what(?:['’]s| is| will)|how(?:['’]s| is| will)) (?:the )?(?:weather|temperature"
    rf"|forecast|traffic|time)(?: be)?(?: now)?(?: like)? (?:in|at|on|near|for|around|tomorrow"
    rf"|today)\b"
    r"(?![^?]*\b(?:celsius|fahrenheit|kelvin|boiling|usually|average|typical\w*|normally|summer"
    r"|winter|spring|autumn|fall|january|february|march|april|may|june|july|august"
    r"|september|october|november|december|complexity|novel|poem|story)\b)"
    rf"|(?:what|who|how|which|is|are)\b[^.:]{{3,60}}\b(?:right now|at the moment|at this moment"
    rf"|as we speak|currently (?:open|playing|trading|showing|raining|in stock))\W*$"
    rf"|(?:is|are) (?:the|there|any) [^.:]{{3,60}}\b(?:open|delayed|running|available|free"
    rf"|sold out|closed|on time) (?:right )?(?:now|today|tonight|tomorrow|this \w+)\W*$"
    r")",
    re.IGNORECASE,
)
_ALSO_A_TEXT = re.compile(
    r"\b(?:and|then|to|by|,) (?:then )?(?:write|describe|explain|compose|list|tell (?:me"
    r"|us) (?:how|why|what|a)|draft"
    r"|summari[sz]e|give (?:me|us|an?)|create|suggest)\b",
    re.IGNORECASE,
)


def beyond_reach(instruction: str, given: str) -> str | None:
    """Find a request for the news of the moment, the asker's own things, or an act of a device.

    Only where it is the whole request: short, and without material of its own.
    """
    if len(instruction) > 160 or given.strip():
        return None
    asked = instruction.strip()
    match = _BEYOND.match(asked) if _BEGINS_BEYOND.match(instruction) else None
    match = match or _ACTS_FOR_ME.match(asked)
    if match is None or _ALSO_A_TEXT.search(asked) or HOLDS_MATERIAL.search(instruction):
        return None
    return repr(match[0][:80])
