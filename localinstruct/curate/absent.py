"""Requests whose material is not there: "summarise the following text" and no text, a file's name.

`unanswerable.attachment` finds what would have to be opened or fetched; here it is what should
stand in the row. A request that holds its material (after a colon, in quotation marks, on a line of
its own) is whole. Returns the words that give it away, or None.
"""

import re

_MATERIAL = (
    r"(?:texts?|articles?|passages?|paragraphs?|sentences?|phrases?|poems?|stor(?:y|ies)|essays?"
    r"|reviews?|e-?mails?|letters?|documents?|reports?|speech|transcripts?|contracts?"
    r"|excerpts?|abstracts?"
    r"|quot(?:e|ation)s?|tweets?|posts?|comments?|conversations?|dialogues?|headlines?|statements?"
    r"|words?|numbers?|lists?|data|tables?|charts?|graphs?|images?|pictures?|photos?|screenshots?"
    r"|code(?: snippets?| blocks?)?|snippets?|programs?|equations?|expressions?|recipes?|questions?"
    r"|options|choices|items|values|functions?|quer(?:y|ies)|lyrics|scripts?|files?|pdf"
    r"|spreadsheets?|notes?|paper|clip|recording|ingredients|reviews)"
)
_THING = (
    rf"(?:{_MATERIAL[3:-1]}|invoices?|slides?(?: decks?)?|presentations?|(?:log|audio|text|csv|video)"
    r" files?|diagrams?|scans?|maps?|videos?|audio(?: clips?)?|clips?|recordings?|pages?|links?"
    r"|web ?sites?|attachments?|drawings?|figures?|menus?|resumes?|blog posts?|chapters?|memos?"
    r"|receipts?|brochures?|flyers?|forms?|logs?|folders?|books?|songs?|podcasts?|pasted \w+|problem"
    r"|outputs?|draft|messages?|sketch(?:es)?|csv|manuscripts?|e-?mail threads?|threads?|paintings?|voice notes?"
    r"|sql quer(?:y|ies)|floor plans?|posters?|captions?|schedules?|certificates?|dialogs?|notices?|labels?|pictures?|plots?|logos?|cartoons?|letters?)"
)
"""Material, and whatever else can be sent along, looked at or opened."""
_SHARED = r"(?:attached|pasted|sent|shared|uploaded|posted|included|enclosed|forwarded|linked|gave)"
_ABSENT = re.compile(
    # sent along by the asker, or enclosed
    rf"\b{_THING}(?: that| which)? (?:i|we|my \w+)(?:['’]ve| have| had)?(?: just)? {_SHARED}\b"
    rf"|\bi(?:['’]ve| have| am|['’]m)?(?: just)? (?:{_SHARED}|attaching|sending)(?: you)? (?:an?|the|my|some)"
    rf" (?:[\w-]+ ){{0,2}}?{_THING}\b(?!.{{0,40}}\b(?:yesterday|by mistake|last))"
    rf"|\b(?:the|this|my) (?:enclosed|attached|uploaded|pasted|linked|provided|supplied|accompanying) "
    rf"(?:[\w-]+ )?{_THING}\b"
    rf"|\b{_THING} (?:attached|enclosed|provided|supplied|at (?:this|the) (?:link|address|url))\b"
    # pointed at: shown in it, seen in it, the next one, the one here
    rf"|\b(?:as )?(?:shown|depicted|seen|visible|pictured|displayed|described|mentioned|listed|written) "
    rf"(?:in|on|by) (?:the|this) {_THING}(?=[,.?!]|$)"
    rf"|\b(?:can|do|did) (?:you|we|i) (?:see|hear|read|spot|find)(?: \w+)? (?:in|on) (?:the|this) {_THING}\b"
    rf"|^(?:please )?(?:look at|read|open|see|check|scan|skim|go through) (?:the|this|my) {_THING},?"
    rf" (?:and|then|to)\b"
    rf"|^(?:please )?\w+(?: \w+)? the (?:next|following|above|below) (?:[\w-]+ )?{_THING}[.:?!]?$"
    rf"|\bthe {_THING} (?:here|below|above)[.:?!]?$|\b(?:this|the) link\b(?! between)"
    # what was said before
    rf"|\b(?:my|your|our|the) (?:previous|last|earlier|prior) (?:message|question|e-?mail|answer|reply"
    rf"|response|conversation|chat|request|prompt)\b"
    rf"|\b{_THING} (?:that )?(?:you|we|i) (?:just )?(?:read|saw|heard|discussed|wrote|mentioned|talked about)\b"
    r"|\bas (?:i|we|you) (?:said|told you|mentioned|discussed|wrote|explained)(?: \w+)? (?:before|earlier|above)"
    rf"|^(?:given|using|from|with) (?:the|this|these) {_THING}, (?!where|how many)"
    # whatever it is: below, above, following, given, and nothing of the kind
    r"|\b(?:the|these|two|three|each of the|all the) (?:two |three )?(?:[\w-]+ ){1,3}?(?:below|above|attached|provided|shown here|given here|supplied"
    r"|enclosed|in the attachment|i pasted|i shared|i uploaded|you were given|you received)\b"
    r"(?! (?:the|a|an|sea|average|zero|freezing|ground|all|us|him|her|water|by|in|to|with|for|it|and below|\d))"
    r"|\bthe following (?!(?:ways?|years?|day|morning|week|month|season|century|year|conditions|night)\b)(?:[\w-]+ ){0,3}\w+"
    r"|\b(?:see|find|read|using) (?:the )?attached\b|\(attached\)|\bthe attachment\b|\bclick here\b"
    rf"|^here(?:['’]s| is| are) (?:the|my|an?|some) (?:[\w-]+ ){{0,2}}?{_THING}[.!,;]"
    rf"|^(?:read|look at|study|consider|take|check|watch|open) (?:this|these|the) {_THING}\b"
    # this text, and no text
    rf"|^(?:please |can you |could you )?\w+(?: \w+){{0,3}}? (?:this|these) (?:[\w-]+ )?{_THING}"
    rf"(?: (?:for|in|into|to|and|so|as|by|using|with|from|about|at) [^:\n]{{1,70}})?[.?!:]?$"
    rf"|^(?:who|what|where|how|which|when|why|is|are|does|do)\b[^:\n]{{1,50}} (?:this|these) (?:[\w-]+ )?{_THING}"
    r"(?: (?:\w+ ){0,3}\w+)?[.?!]?$",
    re.IGNORECASE,
)
_ABSENT_SIGNS = (
    *("attach", "enclos", "upload", "pasted", "sent", "shared", "posted", "provid", "suppl"),
    *("shown", "depicted", "seen", "visible", "see ", "hear", "next", "here", "below", "above"),
    *("link", "previous", "last ", "earlier", "prior", "you just", "we ", "as i ", "as you"),
    *(
        "this",
        "these",
        "look at",
        "click",
        "here's",
        "here is",
        "here are",
        "open the",
        "read the",
        "given the",
        "using the",
        "from the",
        "with the",
        "accompan",
        "forward",
    ),
    *("you read", "following", "described", "listed", "written", "mentioned", "sending", "i gave"),
)
_HOLE = re.compile(rf"[\[(<{{](?:the |my |your |insert )?{_THING}(?: here)?[\])>}}]", re.IGNORECASE)
_GIVEN = (
    r"(?:following|given|provided|attached|enclosed|supplied|accompanying|above|below|uploaded)"
)
_POINTS = re.compile(
    rf"\b(?:the|this|these|each of the|my) (?:[\w-]+ )?{_GIVEN}(?: [\w’'-]+){{0,2}}? {_MATERIAL}\b"
    rf"|\b(?:the|this|these|my)(?: [\w’'-]+){{0,2}}? {_MATERIAL} (?:that (?:is|are|was) )?"
    r"(?:below|above|provided|attached|given (?!by|in|to|at|that)|given$|supplied|enclosed|shown)\b"
    rf"|\b(?:based on|from|in|using|of) the {_MATERIAL} (?:below|above|provided|given)\b"
    rf"|\b(?:given|using|use|consider) (?:the|this|these) (?:following )?(?:set"
    rf"|{_MATERIAL})\b(?: of \w+)?,"
    rf"|\b{_MATERIAL} (?:that|which) (?:follows?|i(?:['’]ve| have)? (?:attached|pasted|sent"
    rf"|shared|uploaded))\b"
    rf"|\b{_MATERIAL} (?:i(?:['’]ve| have)? (?:attached|pasted|uploaded))\b",
    re.IGNORECASE,
)
_WORDS = (
    *("follow", "given", "provid", "attach", "enclos", "suppl", "accompan", "above", "below"),
    *("upload", "shown", "using", "use ", "consider", "pasted", "i sent", "i shared"),
)
_SEEN_WORDS = (
    *("shown", "depicted", "visible", "picture", "image", "photo", "screenshot", "attached"),
    *("graph", "chart", "table", "passage", "text", "article", "diagram", "excerpt", "paragraph"),
    *("document", "i sent", "i gave", "i uploaded", "i shared"),
)
_CALLED_FOR = (
    r"(?:classify|identify|find|determine|detect|analy[sz]e|rate|judge|extract|count|check)"
)
_BARE = re.compile(
    rf"(?:here (?:is|are) (?:the|an?|my) {_MATERIAL}[.!] ?|i(?:['’]ve| have) (?:attached"
    rf"|pasted|uploaded)"
    rf" (?:the|an?|my) {_MATERIAL}[.!] ?)"
    r"(?:(?:please )?[\w ]{3,20} (?:it|them)(?: (?:for|in|into|to)\b[^:.\n]{0,40})?[.?!]?)\s*"
    rf"|make (?:this|the) {_MATERIAL} (?:\w+ ){{0,2}}\w+er\b[.!]?|what does this {_MATERIAL}"
    rf" mean\W*"
    r"|(?:please )?(?:summari[sz]e|translate|proofread|edit|rewrite|rephrase|paraphrase|correct|fix"
    r"|analy[sz]e|shorten|simplify|improve|transcribe|read|punctuate|classify|interpret|explain)"
    r"(?: the (?:grammar|spelling|tone|meaning|errors|mistakes) (?:of|in))? (?:this|the|these)"
    rf" (?:short |long |whole |entire |piece of )?{_MATERIAL}\b"
    r"(?:(?: (?:into|to|in|for|so|and|as|using|with|by) [^:\"“\n]{0,70}| below| above))?[.?!:]?\s*"
    rf"|{_CALLED_FOR} (?:the )?[\w ]{{3,30}}? (?:of|in|from) (?:this|these) {_MATERIAL}[.?!:]?\s*",
    re.IGNORECASE,
)
_SEEN = re.compile(
    r"(?:^what (?:does|do|did) (?:the|this) (?:graph|chart|image|picture|table|passage|text|article"
    r"|diagram|photo|excerpt) (?:show|say|tell|mean|describe)|^(?:based on|according to) "
    r"(?:the|this)"
    r" (?:passage|text|article|table|graph|chart|paragraph|excerpt|document)(?=,)|^what (?:is|are) "
    r"(?:shown|depicted|visible)|^(?:what|who|where|how many|describe"
    r"|name|count"
    r"|identify|list)\b.{0,40} (?:in|of) the (?:picture|image|photo|screenshot)|the attached "
    r"\w+|(?:spreadsheet|file|document|pdf) i (?:sent|gave"
    r"|uploaded|shared|attached))\b",
    re.IGNORECASE,
)
_HOLDS_MATERIAL = re.compile(
    r":\s*\S|\n\s*\S|[\"“«„].{2,}?[\"”»“]|(?<!\w)['‘].{3,}['’](?!\w)|`|\d\s*,\s*-?\d|\|", re.DOTALL
)
_MAKES_A_PROGRAM = re.compile(
    r"^(?:please )?(?:write|create|implement|design|develop|build|generate|code|define|construct"
    r"|compose|make|come up with|invent|suggest|describe how|explain how|how(?! many| would you)|provide an? (?:example"
    r"|algorithm|function))\b",
    re.IGNORECASE,
)
_IN_A_PROGRAM = re.compile(
    r"\b(?:in|with|using) (?:python|java\w*|c\+\+|c#|sql|excel|rust|go|php|ruby|bash|pandas)\b",
    re.I,
)
_TASK = re.compile(r"\b(?:following|below|above) (?:task|instructions?|requirements?)\b", re.I)
_STAND_IN = re.compile(
    r"[<\[({]\s*(?:insert |the |a |an |your |paste |see )?(?:[\w’'-]+ ){0,3}?(?:picture|image|photo"
    r"|screenshot|chart|graph|diagram|audio|video|clip|recording|attachment|attached|file|document"
    r"|pdf|poem|passage|text|article|story|paragraph|sentence|code|table|data|link|url|here|email"
    r"|letter|essay|review|input)s?(?: [\w’'-]+){0,3}\s*[>\])}]\.?"
    r"|[<\[(]?[\w -]{1,60}\.(?:png|jpe?g|gif|bmp|svg|pdf|docx?|xlsx?|csv|mp[34]|wav|txt|pptx?"
    r"|zip|webp)[>\])]?",
    re.IGNORECASE,
)
_ABOUT_NAMES = re.compile(
    r"\b(?:file ?names?|extensions?|rename|format|type|mime|name of the file|suffix|paths?"
    r"|placeholders?|ends?|tags?)\b",
    re.IGNORECASE,
)


def material(instruction: str, given: str) -> str | None:
    """Find a text, table, picture or file that the request needs and does not have."""
    bare = given.strip()
    if bare:
        stands_in = len(bare) <= 90 and _STAND_IN.fullmatch(bare)
        if stands_in and not _ABOUT_NAMES.search(instruction):
            return f"only {bare[:60]!r} in the input"
        return None
    if len(instruction) > 400:
        return None
    after = instruction.rpartition(":")[2].strip()
    if after[:1] in "[<({" and len(after) <= 60 and _STAND_IN.fullmatch(after):
        return f"only {after!r} in its place"
    if _BARE.fullmatch(instruction.strip()):
        return repr(instruction.strip()[:80])
    folded = instruction.casefold()
    points, seen = (any(map(folded.__contains__, words)) for words in (_WORDS, _SEEN_WORDS))
    others = points or any(map(folded.__contains__, _ABSENT_SIGNS))
    if (hole := _HOLE.search(instruction)) and not _ABOUT_NAMES.search(instruction):
        return f"only {hole[0]!r} in its place"
    if not (points or seen or others):
        return None
    if _HOLDS_MATERIAL.search(instruction) or _MAKES_A_PROGRAM.match(instruction):
        return None
    if _IN_A_PROGRAM.search(instruction):
        return None
    match = _POINTS.search(instruction) if points else None
    match = match or (_SEEN.search(instruction) if seen else None)
    match = match or (_absent(instruction.strip()) if others else None)
    if match is None or _TASK.search(instruction) or len(instruction[match.end() :].split()) > 16:
        return None
    return repr(" ".join(match[0].split())[:80])


def _absent(instruction: str) -> re.Match[str] | None:
    """Words that point at a thing which nothing before them brings in: "a story … this story"."""
    match = _ABSENT.search(instruction)
    if match is None:
        return None
    noun = re.findall(r"\w+", match[0])[-1].casefold()
    before = instruction[: match.start()].casefold()
    return None if re.search(rf"\b(?:an?|some|one) (?:[\w-]+ )?{noun}", before) else match


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
    r"(?:(?:my|our|the|his|her) (?:\w+ )?(?:mum|mom|mother|dad|father|parents|sister|brother|wife|husband|son"
    r"|daughter|aunt|uncle|grandma|grandpa|friend|boss|manager|landlord|landlady|neighbou?rs?|doctor|dentist"
    r"|plumber|electrician|lawyer|teacher|supplier|bank|office|school|hotel|restaurant|pharmacy|garage|vet"
    r"|accountant|colleagues?|team|client|customer|kids|babysitter|police|coach|trainer|nurse|therapist|roommate|flatmate|partner|girlfriend|boyfriend|cousin|nephew|niece|tenant|hospital|insurance|airline|gym|shop)"
    r"|him|her|them|everyone|(?-i:(?:Dr|Mr|Mrs|Ms)\.? [A-Z]\w+|[A-Z][a-z]+(?: [A-Z][a-z]+)?)|customer (?:service|support)"
    r"|\+?\d[\d -]{2,14})"
)
_DEVICE = (
    r"(?:lights?|lamps?|tv|television|radio|heat(?:ing|er)|thermostat|volume|music|ac|air con\w*|alarms?|oven"
    r"|fan|dishwasher|washing machine|dryer|computer|laptop|pc|phone|printer|router|wi-?fi|car|engine"
    r"|vacuum(?: cleaner)?|robot|coffee (?:machine|maker)|kettle|shower|sprinklers?|camera|speakers?|doors?"
    r"|gate|garage(?: door)?|windows?|blinds|curtains|shutters|fridge|freezer|stove|boiler|toaster|screen"
    r"|monitor|bluetooth|tap|water|electricity|air purifier|projector|microwave|mower|treadmill)"
)
_WHEN = (
    r"(?: ?,? (?:please|now|right now|tonight|today|tomorrow(?: \w+){0,3}|later|at (?:once|noon|midnight"
    r"|\d[\d:.]*(?: ?[ap]\.?m\.?)?|\w+)|on \w+day|next week|this \w+|(?:before|after|by|until) \w+|for me"
    r"|in \w+ \w+|in (?:the|my) (?:\w+ ){0,2}\w+|to \d+ ?(?:%|percent|degrees)|when \w+ [\w ]{2,20}"
    r"|from \w+ to \w+|every \w+|as soon as possible)){0,3}[.!?]*$"
)
_TEXTS_OF_MINE = (
    r"(?!(?:\w+ )?(?:sentence|essay|text|grammar|spelling|resume|cv|code|letter|paragraph|poem|story|homework"
    r"|answer|mistakes?|writing|draft|recipe|mind|horizon|way|heart|opinion|choice|point|case|goal|english|own"
    r"|name in|understanding|skills?|chances|knowledge)\b)"
)
_ACTS_FOR_ME = re.compile(
    r"(?:please |hey,? |can you |could you |would you )?(?:"
    # people to be reached
    rf"(?:call|phone|ring|dial|text|message|e-?mail|contact|notify|fax|whatsapp|facetime|ping) (?:up )?{_PERSON}"
    r"\b(?!['’]s\b)(?! (?:a|an) )"
    rf"|(?:give|let) {_PERSON} (?:a (?:call|ring|buzz|lift|ride|hug)|know (?:that )?(?:i|we)\b)"
    rf"|(?:make|get|set up) (?:me )?(?:a|an|the) (?:[\w-]+ )?(?:reservations?|bookings?|appointments?|cup of \w+|coffee|sandwich|tea|(?:phone |video |conference )?calls?)\b(?: (?:at|with|for|in|to)\b[^.?!:\n]{{0,40}})?{_WHEN}"
    rf"|(?:start|join|begin|end|hang up|schedule|record) (?:a|an|the|my) (?:[\w-]+ )?(?:calls?|meeting|stream|recording)\b[^.?!:\n]{{0,40}}[.!?]*$"
    rf"|(?:put|write|add|note) [^.?!:\n]{{1,40}} (?:on|to|in) my (?:[\w-]+ )?(?:list|calendar|diary|basket|cart|contacts|favou?rites|schedule|tab|bill)\b"
    rf"|(?:navigate|sail|fly|ride|cycle|hurry) (?:me )?to \w+|sign me (?:up|in|out)|log me (?:in|out)|enrol+ me|track (?:my|the) \w+"
    rf"|find (?:me |us )?(?:the|a) (?:cheapest|nearest|closest|next|fastest) (?:[\w-]+ )?(?:flights?|hotels?|restaurant|pharmacy|station|bus|train|caf[eé]|shop|store|atm|bank|hospital|route|way|room|tickets?|parking(?: lot)?|doctor|taxi|gym|petrol station)(?: (?:to|in|near|from|around) [^.?!:\n]{{2,30}})?[.!?]*$"
    rf"|fill (?:up )?(?:the|my) (?:car|tank|tub|bath|kettle)\b|turn the (?:thermostat|heating|volume|oven|ac|brightness) (?:to|up|down)\b"
    r"|(?:do|did|have|had) (?:i|we) (?:have|got|get|miss|receive|lock|leave|forget|pay|turn|take)\b[^.:]{0,50}\?$"
    r"|how (?:many|much|long|far|often|well) (?:\w+ )?(?:did|have|do) i\b(?! (?:need|have to|add|write|use|get|put))[^.:]{2,40}\?$"
    r"|who (?:\w+ )?(?:called|texted|rang|wrote|emailed|visited|messaged|is calling|is (?:with|near|behind)) (?:to )?me\b"
    r"|(?:what|which|whose) (?:\w+ )?(?:colou?r|size|brand|kind|type|model|number|shape|one|day) (?:is|are|was|were) my \w+\W*$"
    r"|(?:which|who|how many) of my \w+ (?:is|are|was|were|have|has|can|will)\b|(?:where|how)(?:['’]s| is| are| was) my (?!best)\w+\W*$"
    r"|(?:what|who|which|is|are)(?:['’]s| is| are)?\b[^.:]{2,50}\b(?:playing|on tv|on television|showing|performing|open|on sale) (?:[\w ]{1,25} )?(?:tonight|today|now|tomorrow|this \w+)\W*$"
    rf"|(?:send|mail|forward|post|ship|deliver|give|drop)\b(?: off)? [^.?!:\n]{{0,50}}\bto {_PERSON}{_WHEN}"
    rf"|(?:pay|wire|tip|send|lend|transfer) (?:\w+ )?{_PERSON} [$€£]?\d"
    rf"|(?:tell|inform|ask|remind|thank|invite|meet|visit|pick up|drop off|collect|fetch) {_PERSON}\b(?! (?:a|an|about|how"
    rf"|why|what|whether)\b)[^.?!:\n]{{0,40}}\b(?:at|from|tonight|tomorrow|today|on \w+day|that i|to (?:call|bring|come))\b"
    # devices
    rf"|(?:turn|switch|power|shut) (?:on|off|up|down) (?:all )?(?:the |my |all |every |your )*(?:[\w-]+ ){{0,2}}?{_DEVICE}\b{_WHEN}"
    rf"|(?:turn|switch|power|shut) (?:the|my|all) (?:[\w-]+ ){{0,2}}?{_DEVICE} (?:on|off|up|down){_WHEN}"
    rf"|(?:start|stop|run|restart|reboot|reset|charge|lock|unlock|open|close|dim|raise|lower|mute|unmute|pause"
    rf"|activate|deactivate|unplug|preheat|set|connect|disconnect|brighten|clean|defrost) (?:the|my|all the|all"
    rf"|our) (?:[\w-]+ ){{0,2}}?{_DEVICE}\b{_WHEN}"
    rf"|(?:play|stream|put on|skip|shuffle) (?:some|me|my|a|an|the (?:next|last|latest|previous|new)|this) (?:[\w-]+ ){{0,3}}?\w+{_WHEN}"
    rf"|print (?:out )?(?:this|the|my|these|two|three|\d+) [^.?!:\n]{{0,30}}(?:page|document|file|report|letter|cop(?:y|ies)|ticket|pass"
    rf"|slides?|form|invoice|photos?)\b(?! (?:of|that) (?:the )?(?:string|list)){_WHEN}"
    # things of mine
    rf"|(?:drive|take|bring|fetch|get(?= (?:me|us) (?:a|an|some|two|the (?:latest|current)) )|buy|order|book|reserve|hail|cook|lend|hand|pass|wake|pick) (?:me|us)\b"
    rf"(?! (?:through|up to (?:date|speed)|an? (?:idea|list|example|answer|overview|summary|explanation|start))\b)[^.?!:\n]{{0,60}}[.!?]*$"
    rf"|(?:cancel|reschedule|postpone|confirm|renew|pick up|drop off|find|locate|show me|show|read(?: out| aloud| me)?|check"
    rf"|delete|empty|archive|back up|sync|post|pay|feed|wash|clean|walk|iron|repair|mow|update|charge|move|mark|unsubscribe|extend|return"
    rf"|book|sell|refill|water|vacuum|unpack|pack|schedule|add|download|upload|share|open|close|fix) (?:[\w -]{{0,40}}?(?:in|on|of|from|to|with) )?(?:all )?(?:my|our)"
    rf" {_TEXTS_OF_MINE}(?:(?:new|last|next|unread|old|old|front|first|two|three|recent|dental) )?(?:appointments?|reservations?|subscription|booking|flights?|order|meetings?|calls?|phone|keys?|wallet"
    rf"|glasses|bag|car|bike|messages?|e-?mails?|inbox|calendar|mail|photos?|pictures?|files?|account|bills?|rent|cats?|dogs?"
    rf"|plants?|clothes|shirts?|shoes|room|house|kitchen|lawn|garden|status|profile|page|playlist|contacts?|passport|parcel|package|laundry|shopping (?:list|cart)|voicemail|alarm"
    rf"|balance|instagram|facebook|twitter|linkedin|timeline|library book|desk|battery|fridge|insurance|membership|to-?do list|reminders?|dishes|suitcase|seat|table|notifications|downloads|trash|cloud|tablet|laptop|computer|sink|roof|tap|wall|network|router|bedroom|windows?|prescription)\b"
    rf"|(?:water|feed|mow|vacuum|sweep|mop|wash|walk|iron|clean|set|clear|empty) the (?:[\w-]+ )?(?:plants?|lawn|garden|floors?|dishes|laundry|carpet|dogs?|cats?|windows?|trash|bins?|dishwasher|table|car|bathroom|kitchen|shirts?|grass|flowers|fish|chickens)\b{_WHEN}"
    rf"|take (?:a|an|another) (?:photo|picture|selfie|screenshot)\b|take (?:out|down) the (?:trash|bins?|rubbish|garbage|laundry)\b"
    rf"|(?:post|tweet|upload|publish|share)\b[^.?!:\n]{{1,60}}\b(?:on|to) (?:my )?(?:instagram|facebook|twitter|x|linkedin|youtube|tiktok|whatsapp|slack)\b{_WHEN}"
    # what only the asker knows, or saw, or said
    r"|what(?:['’]s| is| are| was| were) my (?:\w+ )?(?:name|age|address|birthday|password|pin|phone number|number|username|blood type"
    r"|favou?rite \w+|job|e-?mail|location|balance|weight|height|middle name|next \w+|last \w+|previous \w+|first \w+|plans?|schedule|boss['’]s name)\b[^.:]{0,30}\?*$"
    r"|(?:how old am i|where do i (?:live|work)|who am i|do you (?:know|remember) (?:me|my|where i|what i|who i)|do i have (?:any|an?) [\w ]{3,30}"
    r"(?:today|tomorrow|tonight|this week|left))\b"
    r"|(?:who|what)(?:['’]s| is| was)(?: that)? (?:\w+ ){0,2}?(?:behind|beside|next to|in front of|near|above|knocking|calling|at my|on my|in my"
    r"|under my|outside my) ?(?:me|us|door|desk|head|hand|room|house|plate|screen|window|street|yard|kitchen|cup|pocket|bag|fridge)?\b[?]*$"
    rf"|(?:what|when|where|who|why|how|which)(?: \w+)? did (?:i|we|you and i|{_PERSON})\b[^.:]{{2,50}}\b(?:yesterday|last (?:time|night|week|month|year|\w+day)|earlier|before|this morning"
    r"|for (?:breakfast|lunch|dinner)|today)\W*$"
    r"|(?:continue|go on with|resume|finish|repeat) (?:our|the|my) (?:\w+ )?(?:conversation|chat|discussion|talk|last|previous)\b"
    r"|(?:what|which) (?:was|were|is) (?:my|your|our|the) (?:previous|last|first|earlier) (?:question|message|answer|request|topic|prompt|reply)\b"
    # the present state of the world
    rf"|(?:what(?:['’]s| is| will)|how(?:['’]s| is| will)) (?:the )?(?:weather|temperature|forecast|traffic|time)(?: be)?(?: now)?(?: like)? (?:in|at|on|near|for|around|tomorrow|today)\b"
    r"(?![^?]*\b(?:celsius|fahrenheit|kelvin|boiling|usually|average|typical\w*|normally|summer|winter|spring|autumn|fall|january|february|march|april|may|june|july|august"
    r"|september|october|november|december|complexity|novel|poem|story)\b)"
    rf"|(?:what|who|how|which|is|are)\b[^.:]{{3,60}}\b(?:right now|at the moment|at this moment|as we speak|currently (?:open|playing|trading|showing|raining|in stock))\W*$"
    rf"|(?:is|are) (?:the|there|any) [^.:]{{3,60}}\b(?:open|delayed|running|available|free|sold out|closed|on time) (?:right )?(?:now|today|tonight|tomorrow|this \w+)\W*$"
    r")",
    re.IGNORECASE,
)
_ALSO_A_TEXT = re.compile(
    r"\b(?:and|then|to|by|,) (?:then )?(?:write|describe|explain|compose|list|tell (?:me|us) (?:how|why|what|a)|draft"
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
    if match is None or _ALSO_A_TEXT.search(asked) or _HOLDS_MATERIAL.search(instruction):
        return None
    return repr(match[0][:80])
