"""The story grammar: a cast, a plot, and many ways to say each sentence.

Template language: [a|b|c] picks one alternative (they nest, an alternative may
be empty); {slot} is looked up in the story's environment, {slot^} is the same
with a capital letter. A plot is a function that returns a Story; all choices
come from one random.Random, so a seed gives a text.
"""
import random
import re
from dataclasses import dataclass, field

import world as W

PRONOUNS = {"she": ("she", "her", "her", "herself"), "he": ("he", "him", "his", "himself")}
_ALT = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{([A-Za-z0-9_]+)(\^?)\}")
_START = re.compile(r'(^"?|\n"?|[.!?] "?|\." "?)([a-z])')


def pick(text, rng):
    while True:
        m = _ALT.search(text)
        if not m:
            return text
        text = text[:m.start()] + rng.choice(m.group(1).split("|")) + text[m.end():]


def cap(s):
    return s[:1].upper() + s[1:]


def render(text, env, rng):
    """Expand alternatives and slots (values may hold templates), then tidy the result."""
    for _ in range(6):
        text = pick(text, rng)
        if "{" not in text:
            break
        text = _SLOT.sub(lambda m: cap(pick(env[m[1]], rng)) if m[2] else env[m[1]], text)
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text).strip()
    text = re.sub(r" ([.,!?])", r"\1", text)
    text = re.sub(r'([?!]")\.', r"\1", text)
    return _START.sub(lambda m: m[1] + m[2].upper(), text)


def art(noun):
    if noun.startswith(("uni", "use")):
        return "a " + noun
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


@dataclass
class Char:
    kind: str                   # fox, girl, baker
    name: str = ""
    adj: str = ""
    pron: str = "he"
    by_name: bool = False       # how the story refers to this one
    human: bool = False

    @property
    def ref(self):
        return self.name if self.by_name else "the " + self.kind

    def intro(self, rng):
        if self.human and self.name and rng.random() < 0.15 and not self.adj:
            return self.name
        base = art((self.adj + " " + self.kind).strip())
        return base + pick(" [named|called|named] ", rng) + self.name if self.name else base

    def slots(self, letter, rng):
        he, him, his, self_ = PRONOUNS[self.pron]
        return {letter: self.ref, letter + "he": he, letter + "him": him, letter + "his": his,
                letter + "self": self_, letter + "int": self.intro(rng), letter + "kind": self.kind}


@dataclass
class Want:
    """What the user asked for; empty fields are free."""
    a: Char = None
    b: Char = None
    obj: str = ""
    adj_obj: str = ""
    place: str = ""
    theme: str = ""
    skill: str = ""


@dataclass
class Story:
    text: str = ""
    env: dict = field(default_factory=dict)
    want: Want = None
    theme: str = ""
    a: Char = None
    b: Char = None
    keeper: str = "A"           # who has the object at the end: A, B, AB or nobody
    qa: list = field(default_factory=list)
    short: str = ""


def invented_name(rng):
    return cap("".join(rng.choice("b d f g h j k l m n p r s t v w z br tr fl kr st th sh".split()) + rng.choice("a e i o u a e i o ee oo ia".split())
                       for _ in range(rng.choice((1, 2, 2, 3)))) + rng.choice(["", "", "n", "l", "r", "x", "s", "m"]))


def name_for(kind, pron, rng):
    if rng.random() < 0.08:
        return invented_name(rng)
    if kind in W.CHILD_KINDS or (kind in W.BEINGS and rng.random() < 0.6):
        return rng.choice(W.GIRLS if pron == "she" else W.BOYS)
    return rng.choice(W.PETS)


def new_char(rng, avoid=(), pron=None, kinds=None, named=None, friend=False):
    while True:
        if kinds:
            kind = rng.choice(kinds)
        else:
            r = rng.random()
            kind = rng.choice(list(W.ANIMALS) if r < .56 else W.MORE_ANIMALS if r < .70 else
                              ["girl", "boy"] if r < .86 else list(W.BEINGS))
        if kind in avoid:
            continue
        fixed = W.BEINGS.get(kind)
        if pron and fixed and fixed != pron and not kinds:
            continue
        break
    c = Char(kind, pron=fixed or pron or rng.choice(["she", "he"]))
    c.human = kind in W.CHILD_KINDS
    if c.human or (named if named is not None else rng.random() < 0.5):
        c.name = name_for(kind, c.pron, rng)
    c.by_name = bool(c.name) and (c.human or rng.random() < 0.6)
    if rng.random() < 0.55:
        c.adj = rng.choice(W.ADJ_FRIEND if friend else W.ADJ_HERO[:-2])     # not happy, not sad
    return c


def other(p):
    return "she" if p == "he" else "he"


def cast(want, rng):
    """Fill the free fields of a request; returns (A, B, C)."""
    a = want.a or new_char(rng)
    b = want.b or new_char(rng, (a.kind,), other(a.pron) if rng.random() < .9 else None, friend=True)
    while not want.b and b.name == a.name and a.name:
        b = new_char(rng, (a.kind,), other(a.pron), friend=True)
    c = new_char(rng, (a.kind, b.kind), named=False, friend=True,
                 kinds=["owl", "turtle", "raven", "badger", "goat", "bear", "donkey", "horse", "heron", "toad", "crow", "hen", "deer",
                        "grandmother", "grandfather", "baker", "shepherd", "miller", "gardener", "farmer", "teacher", "fisherman", "stork", "goose", "mole"])
    if not c.adj:
        c.adj = rng.choice(["old", "wise", "old", "kind"])
    return a, b, c


def environment(want, rng):
    a, b, c = cast(want, rng)
    env = {}
    for letter, ch in (("A", a), ("B", b), ("C", c)):
        env.update(ch.slots(letter, rng))
    env["Cint"] = art(c.adj + " " + c.kind)
    o = want.obj or rng.choice([k for k in W.OBJECTS if k not in W.NOT_HELD] if rng.random() < .6 else W.MORE_OBJECTS)
    adj = want.adj_obj or (rng.choice(W.COLOURS + W.SIZES) if rng.random() < .75 else "")
    if adj and adj in o.split():
        adj = ""
    env.update(o=o, O="the " + o, ao=art(o), aoo=art((adj + " " + o).strip()), adj=adj)
    place = want.place or rng.choice(list(W.PLACES))
    prep, _, _, spots = W.PLACES[place]
    s = rng.sample(spots, 4)
    env.update(place="the " + place, at=f"{prep} the {place}", s1=s[0], s2=s[1], s3=s[2], s4=s[3],
               where=f"{prep} [a|a quiet|a|the] {place}")
    env["where"] = pick(env["where"], rng) if place != "sea" else env["at"]
    env.update(COMMON)
    return env, (a, b, c)


COMMON = {
    "day": "[[one|early one|one] [sunny|windy|grey|cold|warm|quiet|misty|bright|rainy|fine] [morning|afternoon|morning]|one [day|morning|spring day|autumn morning|summer evening|Sunday]|[one morning after breakfast|on the first day of spring|late one afternoon|on a cloudy afternoon]]",
    "open": "[[Once upon a time|Once|Long ago|Not so long ago|Many years ago|Once upon a time], there was {Aint} who lived {where}.|{where^}, there lived {Aint}.|{Aint^} lived {where}.|There was once {Aint} who lived {where}.|Once upon a time, {Aint} lived {where}.|Listen: there was once {Aint} who lived {where}.|In the days when animals could talk, {Aint} lived {where}.|{at^}, not far from here, lived {Aint}.|This is the story of {Aint} who lived {where}.]",
    "like": "[|{Ahe^} loved to [watch the clouds|sing in the morning|sit {s4}|walk about before breakfast|count the stars at night|ask questions|drink warm milk|listen to the rain|play with friends|explore new paths|collect smooth stones|listen to old stories|bake little cakes|whistle while working|climb up high and look around|hum old tunes|smell the flowers].|[Every morning|Every evening|On most days], {Ahe} [sat {s4} and dreamed|sang a little song|went for a walk|said hello to everyone|helped the neighbours|looked for something new to do].]",
    "glad": "[happy|glad|very happy|very glad|proud|full of joy]",
    "sad": "[sad|unhappy|very sad|upset|close to tears]",
    "end": "[||||The end.|And they all slept well that night.|And that was the end of a good day.]",
    "friends": "[From that day on, {A} and {B} were the best of friends.|After that, {A} and {B} met every day.|{A^} and {B} stayed friends for a long, long time.|And from then on, {A} and {B} did everything together.]",
    "learn": "[{A^} had learned that {moral}.|That is how {A} learned that {moral}.|And {A} never forgot that {moral}.|And {A} knew now that {moral}.|That day {A} learned something important: {moral}.]",
}


def finish(story, env, rng, paragraphs, moral, short, qa):
    env["moral"] = pick(moral, rng)
    env = {k: (pick(v, rng) if k in ("glad", "sad") else v) for k, v in env.items()}
    story.text = "\n\n".join(render(p, env, rng) for p in paragraphs)
    story.env = env
    story.short = render(short, env, rng)
    story.qa = [(q, render(a, env, rng)) for q, a in qa]
    return story


# ---------------------------------------------------------------- plots
# Each takes (story, env, rng), builds paragraphs and facts for questions.

def lost(st, env, rng):
    st.theme, st.keeper = "friendship", "A"
    env["how"] = pick("[the wind had carried it there|{Ahe} had left it there the day before|a magpie had dropped it there|it had rolled there all by itself|{Ahe} had put it there to keep it safe and then forgotten about it]", rng)
    p = ["{open} {like} [The thing {Ahe} loved most was|{Ahis^} dearest treasure was|More than anything else, {Ahe} loved] {aoo}.",
         "[{day^}, {O} was gone.|But {day}, {A} could not find {O} anywhere.|{day^}, {A} woke up and saw that {O} had disappeared.] [\"Oh no! Where can it be?\" cried {A}.|{A^} felt a cold stone in {Ahis} belly.|\"My {o} is gone!\" cried {A}.] [First|At first], {Ahe} looked {s1}, but [it was not there|there was nothing|there were only dry leaves]. Then {Ahe} looked {s2}, but [it was not there either|found only a beetle|there was nothing to be seen]. [{A^} sat down and began to cry.|{A^} was {sad}.|A tear rolled down {Ahis} cheek.]",
         "[Just then|After a while|A moment later], {Bint} came by. \"[Why are you crying|What is the matter|Why do you look so sad]?\" asked {B}. \"I have lost my {o},\" said {A}. \"[Do not worry|Do not cry|Take heart],\" said {B}. \"[Let us look for it together|Four eyes see more than two|I will help you to find it].\" [So they searched high and low.|Together they looked everywhere.|They walked slowly and looked at every stone.] [At last|Finally|Just before sunset], {B} looked {s3}, and there it was! [It turned out that {how}.|As it happened, {how}.|You see, {how}.]",
         "[{A^} hugged {B} and [danced with joy|laughed out loud|could not stop smiling].|\"You found it! Thank you!\" cried {A}.|{A^} was so {glad} that {Ahe} jumped up and down.] {friends} {learn} {end}"]
    return finish(st, env, rng, p, "[a friend makes every search easier|it is good to ask for help|two can find what one cannot|a good friend is worth more than any treasure]",
        "{A^} lost {Ahis} {o}. {B^} helped {Ahim} to look for it, and they found it {s3}.",
        [("what_lost", "{A^} lost {Ahis} {o}."), ("who_helped", "{B^} helped {A}."), ("where_obj", "{O^} was {s3}."), ("ending", "{B^} found {O} {s3}, and {A} was happy again.")])


def found(st, env, rng):
    st.theme, st.keeper = "honesty", "B"
    p = ["{open} {like} {day^}, {Ahe} [was walking along when {Ahe} saw something|went out for a walk and noticed something|saw something strange] {s1}. It was {aoo}.",
         "[\"How beautiful!\" said {A}. \"I would like to keep it.\"|\"What a fine {o}!\" said {A}. \"Now it is mine.\"|{A^} picked it up and turned it round and round. \"I could keep it,\" {Ahe} thought.] But [then {Ahe} thought about it|something felt wrong|{Ahis} heart felt heavy]. \"[Somebody must be missing it|Someone has lost this and is looking for it|It belongs to somebody],\" {Ahe} said. So {A} went to {Cint} and asked, \"Is this your {o}?\" \"No,\" said {C}, \"[it is not mine|I have never seen it before]. But I heard someone crying {s2}.\"",
         "{A^} [went there at once|hurried away|ran as fast as {Ahe} could]. {s2^} sat {Bint}, who was [crying|weeping softly|looking very sad]. \"[What is wrong|Why are you crying]?\" asked {A}. \"I have lost my {o},\" said {B}. \"[My grandmother gave it to me|It was a present from my father|I have had it since I was very small].\" {A^} [held out {O}|showed {Bhim} {O}]. \"[Is this the one|Is it this one]?\" {B^}'s eyes [grew wide|began to shine]. \"Yes! [Thank you|Thank you so much|How kind of you]!\"",
         "[{B^} was so {glad} that {Bhe} shared {Bhis} [supper|cake|bread and honey|apple pie] with {A}.|To say thank you, {B} invited {A} to [supper|tea|a picnic].] {friends} {learn} {end}"]
    return finish(st, env, rng, p, "[it feels better to give a thing back than to keep it|being honest brings good friends|what belongs to another should go back to its owner|an honest heart is a light heart]",
        "{A^} found {ao} {s1}. {Ahe^} wanted to keep it, but gave it back to {B}, who had lost it.",
        [("what_found", "{A^} found {aoo}."), ("owner", "{O^} belonged to {B}."), ("where_obj", "{A^} found {O} {s1}."), ("ending", "{A^} gave {O} back to {B}, and they became friends."), ("what_lost", "{B^} had lost {Bhis} {o}.")])


def broken(st, env, rng):
    st.theme, st.keeper = "honesty", "B"
    env["how"] = pick("[with glue and patience|with a bit of string and some glue|with a few small nails|with wax and a piece of cloth|piece by piece]", rng)
    p = ["{open} {Ahis^} [best friend|neighbour|friend] was {Bint}, and {B} owned {aoo}. [{A^} admired it very much.|{B^} was very proud of it.|There was nothing like it far and wide.]",
         "{day^}, {A} [asked if {Ahe} could borrow {O}|borrowed {O} for an hour|was allowed to play with {O}]. \"[Please be careful|Take good care of it|Be careful with it],\" said {B}. But {A} ran too fast, [stumbled over a root|tripped over a stone|slipped on the wet ground], and crack! {O^} was broken. [{A^} was frightened.|{A^}'s heart beat fast.|\"Oh no! What have I done?\" whispered {A}.] {Ahe^} hid {O} {s1} and [told nobody|went home without a word|said nothing].",
         "That night {A} could not sleep. [{Ahe^} turned from one side to the other.|The moon looked in, and {Ahe} felt ashamed.|{Ahe^} kept thinking of {O}.] [In the morning|At sunrise|The next day], {Ahe} went to {B} and said, \"[I must tell you the truth|I have something to tell you]. I broke your {o}, and I hid it {s1}. I am very sorry.\" {B^} was [quiet for a while|sad at first|silent for a long moment]. Then {Bhe} said, \"[I am sad about it, but I am glad that you told me|Thank you for telling me the truth|It was brave of you to tell me]. [Let us mend it together|Maybe we can repair it together].\"",
         "So they [sat down|worked all day|set to work] and mended {O} {how}. [It was not quite like before, but now they both loved it even more.|When they were done, it looked almost as good as new.|One could still see the crack, but nobody minded.] {learn} {end}"]
    return finish(st, env, rng, p, "[the truth is better than a hidden mistake|telling the truth takes courage and makes the heart light|a mistake can be mended if you are honest|friends forgive when you tell the truth]",
        "{A^} broke {O} that belonged to {B} and hid it. Then {Ahe} told the truth, and they mended it together.",
        [("owner", "{O^} belonged to {B}."), ("problem", "{A^} broke {O} and hid it {s1}."), ("where_obj", "{A^} hid {O} {s1}."), ("ending", "{A^} told the truth, and the two friends mended {O} together.")])


def dark(st, env, rng):
    st.theme, st.keeper = "courage", "A"
    env["why"] = pick("[had hurt {Bhis} foot|had twisted {Bhis} ankle|was caught in the thorns|was too frightened to move|had lost the way]", rng)
    p = ["{open} {Ahe^} had one secret: {Ahe} was afraid of [the dark|thunder and lightning|the night|the dark]. [Every evening {Ahe} hid under a blanket.|When the sun went down, {Ahe} always stayed inside.|{Ahe^} never told anyone about it.] {Ahis^} best friend was {Bint}.",
         "[One evening|One stormy night|One dark night], {B} did not come home. [The wind howled.|The sky was black.|Rain fell on the leaves.] \"[Someone must go and look for {Bhim}|{B^} is out there all alone],\" thought {A}. {Ahis^} knees [shook|trembled]. But {Ahe} took {Ahis} {o}, [held it tight|pressed it to {Ahis} heart|held it close], and went out into the night.",
         "{A^} looked {s1}, but saw nobody. [An owl hooted, and {A} jumped.|A branch cracked, and {A} almost ran home.|Something rustled, and {A} stood still.] \"[I am afraid, but my friend needs me|One more step|I will be brave for {B}],\" {Ahe} whispered. Then {Ahe} heard a small voice: \"[Help! I am here!|Is anybody there?|Please help me!]\" There, {s2}, sat {B}, who {why}. \"[You came|You found me]!\" said {B}. \"[I was so scared|I was very much afraid].\" \"[I was scared too|So was I],\" said {A}, \"[but now we are together|but you are my friend].\"",
         "[{A^} helped {B} up, and step by step they walked home.|{B^} leaned on {A}, and slowly they went home.] [At home they drank hot tea.|They sat by the fire until they were warm.|They ate soup and laughed about it.] [The dark did not seem so bad any more.|After that night, {A} was not so afraid any more.] {learn} {end}"]
    return finish(st, env, rng, p, "[being brave means being afraid and going on anyway|courage grows when a friend needs you|even the small can be brave|love is stronger than fear]",
        "{A^} was afraid, but went out at night with {Ahis} {o} to look for {B}. {Ahe^} found {Bhim} {s2} and brought {Bhim} home.",
        [("who_helped", "{A^} helped {B}."), ("where_b", "{B^} was {s2}."), ("problem", "{B^} did not come home, and {A} was afraid to go out at night."), ("ending", "{A^} found {B} {s2}, and they walked home together."), ("took", "{A^} took {Ahis} {o}.")])


def share(st, env, rng):
    st.theme, st.keeper = "sharing", "AB"
    p = ["{open} {Ahis^} [neighbour|friend|playmate] was {Bint}. [They often played {s4}.|Most days they were good friends.|They liked each other very much.]",
         "{day^}, they both saw {aoo} [lying |]{s1}. [\"I saw it first!\" cried {A}. \"No, I did!\" cried {B}.|\"It is mine!\" cried {A}. \"No, it is mine!\" cried {B}.|\"Give it to me!\" cried {A}. \"No, I saw it first!\" cried {B}.] [They both held on to it and pulled.|{A^} pulled on one side, and {B} pulled on the other.|Neither of them would let go.] [They pulled so hard that both of them fell into [the mud|a puddle|the bushes].|They shouted so loudly that the birds flew away.|They did not speak to each other all day.]",
         "[Just then|At that moment|After a while], {Cint} came along. \"[What is all this noise|Why are you fighting]?\" asked {C}. They both began to talk at once. {C^} [smiled|listened and nodded|thought for a moment] and said, \"[A thing that is pulled apart is no good to anyone|There is one {o} and there are two of you|You can fight about it, or you can enjoy it]. [Why do you not take turns|Why do you not share it]?\" {A^} looked at {B}, and {B} looked at {A}. [They both felt a little silly.|They both turned red.|Then they both began to laugh.]",
         "\"[You may have it first|You take it today, and I will take it tomorrow],\" said {A}. \"[No, you first|No, let us use it together],\" said {B}. So they shared {O}, and [it was twice as much fun|they had a wonderful time|they were happier than before]. {friends} {learn} {end}"]
    return finish(st, env, rng, p, "[sharing makes a joy twice as big|it is better to share than to fight|a friend is worth more than a thing|there is enough for two if you share]",
        "{A^} and {B} both wanted {O} and had a quarrel. {C^} told them to share, and then they were friends again.",
        [("who_helped", "{C^} helped them to share."), ("what_found", "They found {aoo}."), ("where_obj", "{O^} was {s1}."), ("problem", "{A^} and {B} both wanted {O}."), ("ending", "They shared {O} and were friends again.")])


def race(st, env, rng):
    st.theme, st.keeper = "never giving up", "A"
    env["rest"] = pick("[took a nap {s1}|lay down {s1}|sat down {s1} to eat|stopped {s1} to talk about {Bself}]", rng)
    p = ["{open} {Ahe^} was [slow|not very fast|never in a hurry], and {Bint} often laughed about it. \"[You are so slow that even the moss grows faster|A snail would be home before you|You will never win anything],\" said {B}.",
         "{day^}, {Cint} called everyone together. \"[There will be a race|We will have a race today],\" said {C}. \"[The winner gets this {o}|The prize is this {o}].\" It was {aoo}, and {A} [wanted it very much|could not stop looking at it|liked it at once]. [Everybody laughed when {Ahe} came to the start.|\"You want to run too?\" laughed {B}.|\"I will try,\" said {A}.]",
         "[One, two, three, go!|The bell rang, and off they went.|{C^} waved a leaf, and the race began.] {B^} ran off like the wind and was soon far ahead. \"[I have plenty of time|I have already won],\" {Bhe} thought, and {rest}. {A^} [went on, step by step|did not stop, not even once|walked and walked]. [{Ahis^} legs hurt|{Ahe^} was tired and thirsty], but {Ahe} thought, \"[Only one more step, and then one more|I will not give up].\" [Quietly {Ahe} passed {B}.|{Ahe^} passed {B}, who did not even notice.] When {B} [woke up|looked up|jumped up], it was too late. {A^} had [crossed the line|reached the end].",
         "[Everyone cheered.|Everybody clapped.|What a cheer there was!] {C^} gave {A} {O}. [{B^} was ashamed and said, \"I am sorry that I laughed at you.\"|\"Well done,\" said {B} quietly. \"I will never laugh at you again.\"] [{A^} smiled and shook {Bhis} hand.|{A^} was not angry at all.] {learn} {end}"]
    return finish(st, env, rng, p, "[slow and steady steps reach the goal|it is good never to give up|those who keep going get there in the end|pride loses what patience wins]",
        "{A^} was slow, but {Ahe} won the race against {B}, because {B} {rest}. The prize was {ao}.",
        [("winner", "{A^} won the race."), ("prize", "The prize was {aoo}."), ("problem", "{A^} was slow, and {B} laughed at {Ahim}."), ("ending", "{A^} won the race and got {O}.")])


def skill(st, env, rng):
    st.theme, st.keeper = "patience", "A"
    options = [s for s in W.SKILLS if s[4] == st.want.obj] if st.want.obj else W.SKILLS
    if st.want.skill:
        options = [s for s in W.SKILLS if s[0] == st.want.skill]
    do, f1, f2, good, tool = rng.choice(options)
    if tool and not st.want.obj:
        env.update(o=tool, O="the " + tool, ao=art(tool), aoo=art((env["adj"] + " " + tool).strip()))
    elif not tool:
        st.keeper = ""
    env.update(do=do, f1=f1, f2=f2, good=good)
    have = "[{Ahe^} had got {aoo} for {Ahis} birthday.|In the attic {Ahe} had found {aoo}.]" if tool else ""
    p = ["{open} {like} {Ahe^} had one big wish: {Ahe} wanted to learn to {do}. " + have,
         "{day^}, {A} tried for the first time, but {f1}. [\"That did not work,\" said {A}.|Some sparrows on the fence laughed.|{Ahe^} felt a little foolish.] [The next day|In the afternoon|After a rest], {Ahe} tried again, but {f2}. [\"I will never learn it!\" cried {A}.|\"I give up,\" said {A} and sat down {s1}.|{A^} wanted to give up.]",
         "{Bint^} had seen it all. \"[Do you know how I learned to {do}|Do you think that I could {do} on the first day]?\" asked {B}. \"[I fell down a hundred times|I tried every day for a whole year|I made every mistake there is]. [A little every day is enough|You only need time and practice|Try a little bit each day].\" [So {A} practised every morning {s2}.|So every evening {A} went and practised {s2}.|{A^} nodded, and from then on {Ahe} practised every day {s2}.] [It was hard at first, but slowly it became easier.|Some days went well, and some days did not.|{B^} came to watch and gave good advice.]",
         "[When spring came|After many weeks|One fine day], {A} showed everyone what {Ahe} could do. {A^} took a deep breath, and this time {good}. [\"Bravo!\" called {B}.|{B^} clapped the loudest of all.|\"I knew you could do it,\" said {B}.] {A^} was {glad}. {learn} {end}"]
    qa = [("wish", "{A^} wanted to learn to {do}."), ("who_helped", "{B^} helped {A} with good advice."), ("problem", "{A^} wanted to {do}, but it did not work at first."), ("ending", "After much practice, {A} could {do} at last.")]
    return finish(st, env, rng, p, "[practice makes hard things easy|nobody is a master on the first day|a little work every day brings you far|those who keep trying will learn]",
        "{A^} wanted to learn to {do}. At first it went wrong, but {B} told {Ahim} to practise, and in the end {Ahe} could do it.", qa)


def stuck(st, env, rng):
    st.theme, st.keeper = "working together", "A"
    env["hole"] = pick("[in a deep hole|in the mud|between two heavy stones|in a thick thorn bush|under a fallen branch]", rng)
    p = ["{open} {like} {day^}, {Ahe} heard a cry for help [from somewhere {s1}|coming from {place}]. [\"Help! Help!\" called a voice.|Somebody was calling, \"Please help me!\"]",
         "{A^} ran to see. {s1^}, {Bint} was stuck {hole}. \"[I cannot get out|I have been here since sunrise|I cannot move],\" said {B}. \"[Do not be afraid|Wait, I will help you|I will get you out],\" said {A}. {Ahe^} pulled [with all {Ahis} strength|as hard as {Ahe} could], but [{B} did not move|it was no use|nothing happened]. Then {Ahe} tried with [a long stick|a strong branch|a piece of rope], but [it broke|it snapped in two|it slipped out of {Ahis} hands].",
         "\"[I cannot do this alone|Alone I am too weak],\" said {A}, \"[but I know who can help|but together we will manage it].\" {Ahe^} [ran|hurried] off and came back with {Cint}[ and all the neighbours|| and three strong mice|]. [{A^} held {B}, and {C} held {A}.|They stood in a line, one behind the other.] \"One, two, three, pull!\" called {C}. They pulled once. They pulled twice. And the third time, [pop|plop|whoosh]! {B^} was free.",
         "[\"Thank you, thank you!\" said {B}.|{B^} thanked them with tears in {Bhis} eyes.] \"[Please take this as a present|This is for you],\" {Bhe} said and gave {A} {aoo}. [{A^} kept it all {Ahis} life.|{A^} was very {glad}.|{A^} had never had such a fine {o}.] {friends} {learn} {end}"]
    return finish(st, env, rng, p, "[together we can do what nobody can do alone|many small hands make a strong one|it is no shame to ask for help|working together makes us strong]",
        "{B^} was stuck {hole}. {A^} could not help alone, so {Ahe} fetched {C}, and together they pulled {Bhim} out.",
        [("who_helped", "{A^} and {C} helped {B}."), ("problem", "{B^} was stuck {hole}."), ("gift", "{B^} gave {A} {aoo}."), ("where_b", "{B^} was {s1}, stuck {hole}."), ("ending", "They pulled {B} out, and {Bhe} gave {A} {aoo}.")])


def grow(st, env, rng):
    st.theme, st.keeper = "patience", ""
    key = st.want.obj or rng.choice(list(W.GROW))
    seed, thing, gift = W.GROW[key]
    env.update(seed=seed, aseed=art(seed), thing=thing, gift=gift)
    p = ["{open} {like} {day^}, {Cint} gave {Ahim} {aseed}. \"[Plant it and take care of it|Put it into the earth and be patient],\" said {C}. \"[Something wonderful will grow|You will see what comes of it].\"",
         "{A^} planted the {seed} {s1} and gave it water. [The next morning {Ahe} ran out to look, but there was only brown earth.|The next day there was nothing to see.] \"[Nothing is happening|Why does it not grow],\" said {A}. {Ahe^} [sang to it|talked to it|read it a story], but still nothing happened. [A whole week passed.|Days went by.] {A^} wanted to dig it up and look. \"[Wait|Do not do that],\" said {Bint}, who lived next door. \"[Good things need time|The roots grow first, and you cannot see them|You cannot pull a plant out of the earth by wishing].\"",
         "So {A} waited. {Ahe^} gave it water every [morning|evening], [and when it was cold, {Ahe} covered the earth with leaves|and pulled out the weeds|and chased the hungry snails away]. [Then it rained for three days, and then the sun came out.|The days grew longer and warmer.] And one morning, a tiny green tip looked out of the earth! [\"It is growing!\" cried {A}.|{A^} danced around it.] [It grew a little every day.|It grew and grew.] [At last|By the end of summer], there stood {thing}.",
         "{A^} invited {B} and {C} and shared {gift} with them. \"[It was worth waiting for|You were right],\" said {A}. {learn} {end}"]
    return finish(st, env, rng, p, "[good things need time|patience is rewarded|what you care for every day will grow|those who wait gently get the sweetest fruit]",
        "{A^} planted {aseed} and had to wait for a long time. In the end there grew {thing}, and {Ahe} shared {gift} with {Ahis} friends.",
        [("planted", "{A^} planted {aseed}."), ("where_obj", "{A^} planted it {s1}."), ("gift", "{C^} gave {A} {aseed}."), ("problem", "The {seed} did not seem to grow, and {A} had to wait."), ("ending", "There grew {thing}, and {A} shared {gift} with {B} and {C}.")])


def newcomer(st, env, rng):
    st.theme, st.keeper = "kindness", "B"
    p = ["{open} {like} {day^}, {Bint} moved into the [empty|old|little] house {s1}. [Nobody knew {Bhim}.|Nobody said hello.|Everybody whispered, but nobody went to see {Bhim}.]",
         "[Every day|From {Ahis} window], {A} saw {B} sitting alone {s2}. [{Bhe^} looked lonely.|{Bhe^} never smiled.|{Bhe^} looked at {Bhis} feet and sighed.] \"[Everyone says that {Bhe} is strange|The others say that {Bhe} does not want any friends],\" thought {A}, \"[but perhaps {Bhe} is only shy|but has anyone asked {Bhim}].\" So {A} took {aoo}, tied a ribbon around it, and [went to the house|knocked on the door].",
         "The door opened just a little. \"[Hello|Good morning],\" said {A}. \"[I have brought you something|This is for you. Welcome].\" {B^} looked at {O} for a long time. \"[For me|Is that really for me]?\" {Bhe} asked. \"[Nobody has ever given me a present|I thought that nobody liked me].\" \"[I would like to be your friend|Do you want to come out and play],\" said {A}. [Slowly, {B} began to smile.|Then {B} smiled for the first time.]",
         "They [played {s3} until sunset|sat {s3} and talked for hours|went {s3} and ate bread and jam]. {B^} [knew a hundred funny songs|could tell the best jokes|knew the names of all the stars], and soon [everyone wanted to be {Bhis} friend|the others came to listen too]. {friends} {learn} {end}"]
    return finish(st, env, rng, p, "[a little kindness opens every door|a shy heart only needs a friendly word|one small gift can begin a great friendship|it is good to be kind to someone who is new]",
        "{B^} was new and lonely. {A^} brought {Bhim} {ao}, and they became friends.",
        [("gift", "{A^} gave {B} {aoo}."), ("who_helped", "{A^} was kind to {B}."), ("problem", "{B^} was new and had no friends."), ("ending", "{A^} and {B} became friends.")])


def gift(st, env, rng):
    st.theme, st.keeper = "kindness", "B"
    env["work"] = pick("[swept the yard|carried wood|washed the windows|picked apples|fed the hens|stacked the firewood]", rng)
    p = ["{open} {Ahis^} best friend was {Bint}. [Soon it would be {B}'s birthday|In three days it was {B}'s birthday|{B^}'s birthday was near], and {A} [wanted to find the perfect present|did not have a present yet].",
         "{day^}, {A} saw {aoo} [in a shop window|on a market table|in the window of a little shop]. \"[That would be just right for {B}|{B^} would love that {o}],\" thought {A}. But {Ahe} had only [two coins|one small coin|three pennies], and it cost ten. [{A^} walked home slowly.|{A^} was {sad}.] Then {Ahe} had an idea. {Ahe^} went to {Cint} and asked, \"Do you have some work for me?\" \"[I do|There is always work here],\" said {C}.",
         "For three days, {A} {work} from morning to evening. [{Ahis^} arms hurt|{Ahis^} feet were sore], but {Ahe} did not [stop|complain]. [On the third evening|At the end], {C} gave {Ahim} a handful of coins. \"[You have earned them|You worked well],\" said {C}. {A^} ran [to the shop|all the way] and bought {O} just before the door was closed.",
         "[On the birthday|The next morning], {B} opened the present. \"[{ao^}|Oh, {ao}]! [It is wonderful!|How did you know?]\" {Bhe} cried. And when {Bhe} heard how hard {A} had worked, {Bhe} said, \"[You are the best present of all|The best present is a friend like you].\" {learn} {end}"]
    return finish(st, env, rng, p, "[a gift that is earned with love is the finest gift|it is lovely to work for someone else's joy|giving makes us as happy as getting|a good friend is the best present]",
        "{A^} wanted to give {B} {ao} for {Bhis} birthday. {Ahe^} worked for {C} for three days to earn the money.",
        [("gift", "{A^} gave {B} {aoo}."), ("who_helped", "{C^} gave {A} some work."), ("work", "{A^} {work} for three days."), ("problem", "{A^} did not have enough money for the present."), ("ending", "{B^} got {O} and was very happy.")])


def journey(st, env, rng):
    st.theme, st.keeper = "following a dream", "A"
    goal, see = rng.choice([("the sea", "The water was blue and went on for ever"), ("the great mountain", "From the top {Ahe} could see the whole world"),
                            ("the city of lights", "A thousand windows shone like stars"), ("the rainbow lake", "The water shone in seven colours"),
                            ("the tallest tree in the world", "Its top was lost in the clouds"), ("the snow in the north", "Everything was white and still"),
                            ("the field of fireflies", "Little lights danced all around")])
    env.update(goal=goal, see=see)
    p = ["{open} [Everyone was happy to stay at home, but {A} had a dream|{like} {Ahe^} had a dream]: {Ahe} wanted to see {goal}. \"[That is much too far|You will get lost|What a silly idea],\" said the neighbours.",
         "{day^}, {A} packed some bread and {aoo} and set out. [{Ahe^} walked over hills and through fields.|{Ahe^} followed the road until {Ahis} feet were sore.|{Ahe^} walked for two days.] {s1^}, {Ahe} met {Bint}, who [was very hungry|had not eaten all day|was tired and hungry]. {A^} did not have much, but {Ahe} [gave {Bhim} half of the bread|shared the bread]. \"[You are kind|Thank you],\" said {B}. \"Where are you going?\" \"I want to see {goal},\" said {A}. \"[I know the way|I have been there once],\" said {B}. \"[Let me come with you|I will show you].\"",
         "So they went on together. [When it rained, they hid {s2}.|At night they slept {s2}.] [Once they came to a wide stream, and {B} showed {A} where to cross it.|Once the path was gone, but {B} knew another one.|Once {A} was so tired that {Ahe} wanted to turn back, but {B} sang a song, and they went on.] [Then, one morning|And on the seventh day], they stood before {goal}. {see}. [{A^} could not say a word.|\"It is even more beautiful than I thought,\" said {A}.|{A^} held {O} tight and smiled.]",
         "[When {A} came home, {Ahe} told everybody about it|At home, {A} told the story again and again], and {O} [always stood beside {Ahis} bed|always reminded {Ahim} of that day]. {learn} {end}"]
    return finish(st, env, rng, p, "[a dream begins with the first step|the longest way is short with a friend|who shares on the way never walks alone|it is good to follow a dream]",
        "{A^} wanted to see {goal}. On the way {Ahe} shared {Ahis} bread with {B}, who showed {Ahim} the way.",
        [("wish", "{A^} wanted to see {goal}."), ("who_helped", "{B^} showed {A} the way."), ("took", "{A^} took some bread and {aoo}."), ("problem", "{A^} wanted to see {goal}, but it was very far away."), ("ending", "{A^} reached {goal} together with {B}.")])


def trade(st, env, rng):
    st.theme, st.keeper = "being content", "A"
    things = rng.sample(["hat", "whistle", "pot", "bucket", "cheese", "chair", "cart", "bag of nuts", "blanket", "clock", "spoon", "broom"], 3)
    things = [t for t in things if t != env["o"]]
    x, y = things[0], things[1]
    env.update(x=x, ax=art(x), y=y, ay=art(y))
    p = ["{open} {Ahe^} owned {aoo}. [It was a good {o}, but {A} was never content.|{Ahe^} liked it, but {Ahe} always wanted something better.]",
         "{day^}, {Ahe} met {Bint}, who had {ax}. \"[A {x} is much better than {ao}|I would rather have {ax}],\" thought {A}. \"Will you trade with me?\" {Ahe} asked. \"[Gladly|With pleasure],\" said {B}, and took {O}. {A^} walked on with the {x}. But soon {Ahe} [grew tired of it|thought, \"What shall I do with it?\"]. Then {Ahe} met {Cint}, who had {ay}. \"Will you trade with me?\" asked {A}. \"[If you like|Why not],\" said {C}, and took the {x}. Now {A} had the {y}.",
         "But [on the way home {Ahe} slipped, and the {y} fell into the river|a storm came and carried the {y} away|that night the {y} was lost in the dark]. Now {A} had nothing at all. [{Ahe^} sat down {s1} and was {sad}.|{Ahe^} sat {s1} and thought of {Ahis} {o}.] \"[My {o} was just right for me, and I gave it away|I had a good {o} and did not know it],\" {Ahe} said.",
         "{B^} came by and heard it. \"[Here, take it back|You may have it again],\" {Bhe} said. \"[I only wanted to look at it for a while|It was always yours].\" {A^} [took {O} in {Ahis} arms|held {O} as if it were made of gold]. \"[Thank you! I will never trade it again|Now I see how fine it is],\" {Ahe} said. {learn} {end}".replace("in {Ahis} arms", "with both hands")]
    p[1] = p[1].replace("A {x} is", "{ax^} is")
    return finish(st, env, rng, p, "[it is good to be content with what you have|the best thing is often the one you already have|who always wants more may end with nothing|what you have is precious before it is gone]",
        "{A^} traded {Ahis} {o} for {ax} and then for {ay}, and lost it. In the end {B} gave {O} back to {Ahim}.",
        [("traded", "{A^} traded {Ahis} {o} for {ax}, and {ax} for {ay}."), ("problem", "{A^} was never content and traded {O} away."), ("ending", "{B^} gave {O} back, and {A} was content."), ("who_helped", "{B^} helped {A} and gave {O} back.")])


def wish(st, env, rng):
    st.theme, st.keeper = "kindness", "A"
    env["dreams"] = pick("[a mountain of cakes|a golden house|a bag full of gold|a pair of wings|a crown|a thousand toys]", rng)
    p = ["{open} {like} {day^}, {Ahe} found {aoo} {s1}. [It was covered with dust.|It looked quite ordinary.] {A^} wiped it clean, and [suddenly it began to glow|all at once it began to hum|a soft light came out of it].",
         "\"[Thank you|At last],\" said a tiny voice. \"I am a magic {o}, and you may make one wish. [But only one|Think about it well].\" {A^} [could hardly believe it|sat down in surprise]. \"I could wish for {dreams}!\" {Ahe} thought, and {Ahe} ran home to tell {Ahis} friend. This friend was {Bint}.",
         "But {B} did not [open the door|come out to play]. {Bhe^} was ill in bed, and {Bhis} [face was pale|nose was hot]. \"[I have been ill for a week|I cannot even stand up],\" said {B} with a weak voice. {A^} looked at {O}, and {Ahe} looked at {Ahis} friend. [{Ahe^} did not think for long.|It was not a hard choice.] \"I wish that {B} may be well again,\" {Ahe} said. There was a flash of [blue|golden|green] light. {B^} sat up. \"[I feel fine|I am hungry]!\" {Bhe} said.",
         "{O^} [stopped glowing|was quiet now], and the magic was gone. \"[You could have had anything|You gave away your only wish],\" said {B}. \"[I have what I wanted|I have you, and that is enough],\" said {A}. [They went out and played {s2}.|They laughed and went out into the sun.] {learn} {end}"]
    return finish(st, env, rng, p, "[a friend is worth more than gold|the best wish is one for somebody else|kindness is the strongest magic|a good heart is the greatest treasure]",
        "{A^} found a magic {o} with one wish. {Ahe^} used the wish to make {B} well again.",
        [("what_found", "{A^} found a magic {o}."), ("where_obj", "{A^} found {O} {s1}."), ("wish", "{A^} wished that {B} might be well again."), ("problem", "{B^} was ill in bed."), ("ending", "{B^} was well again, and {O} lost its magic."), ("who_helped", "{A^} helped {B} with {Ahis} only wish.")])


def storm(st, env, rng):
    st.theme, st.keeper = "helping each other", "B"
    p = ["{open} {like} {Ahis^} neighbour was {Bint}, [who lived in a small house {s1}|whose house stood {s1}]. [They said good morning to each other, but no more than that.|{A^} did not know {Bhim} very well.]",
         "One night a great storm came. [The wind roared|Thunder rolled], and the rain fell in sheets. [In the morning|When the sun came up], the house of {B} was gone. [Only a heap of wood was left.|The roof lay in a tree.] {B^} sat {s2} and was {sad}. \"[My house is broken|I have no home any more],\" {Bhe} said, \"and my {o} is lost too.\"",
         "\"[Come and stay with me|You can live in my house],\" said {A}, \"[and then we will build a new house|until we have built a new one].\" [They asked the neighbours, and everyone came to help.|{Cint^} came to help them.] [Some carried wood, and some hammered nails.|They sawed and hammered all day long.] While they were clearing up, {A} saw something [shining |]{s3}. It was {aoo}! \"[Look what I found!|Is this yours?]\" {A} called. \"[My {o}|You found it]!\" cried {B} and [laughed for the first time|hugged {A}].",
         "[After a week|Soon], the new house was ready, and it was [stronger|prettier] than before. {B^} put {O} [in the window|over the door|on the table], and they all had a [big supper|feast|party with cake]. {friends} {learn} {end}"]
    return finish(st, env, rng, p, "[neighbours who help each other are stronger than any storm|after every storm the sun comes out|a helping hand is better than a strong wall|what the storm breaks, friends can build again]",
        "A storm broke the house of {B}. {A^} took {Bhim} in, found {Bhis} {o} {s3} and helped to build a new house.",
        [("who_helped", "{A^} helped {B}."), ("what_lost", "{B^} lost {Bhis} house and {Bhis} {o}."), ("where_obj", "{O^} was {s3}."), ("problem", "A storm broke the house of {B}."), ("ending", "They built a new house, and {B} had {Bhis} {o} again.")])


def letter(st, env, rng):
    st.theme, st.keeper = "keeping a promise", "B"
    env["hard"], env["how"] = rng.choice([("a stream had washed away the bridge", "[jumped from stone to stone|walked along the bank until there was a shallow place]"),
        ("a fallen tree lay across the path", "[climbed over it|crawled under it]"), ("thick fog covered the path", "[waited until the fog was gone|felt the way step by step]"),
        ("the road was deep in mud", "[walked along the edge on the grass|laid branches on the mud]")])
    env["how"] = pick(env["how"], rng)
    who = st.b.name + ", " + art((st.b.adj + " " + st.b.kind).strip()) if st.b.by_name else art((st.b.adj + " " + st.b.kind).strip())
    env["bwho"] = who + (" called " + st.b.name if st.b.name and not st.b.by_name else "")
    p = ["{open} {like} {day^}, {Cint} asked {Ahim} for help. \"[My legs are too old for the long way|I cannot leave my house today|I have hurt my foot],\" said {C}. \"Please take this {o} to {bwho}. [But it must be there before sunset.|It must be there before the sun goes down.]\" It was {aoo}. \"[I promise|You can count on me|I will do it],\" said {A}. [{B^} lived far away.|It was a long way to the house of {B}.]",
         "So {A} set out. [The sun was high, and birds were singing.|At first the way was easy.|{Ahe^} carried {O} carefully.] {s1^}, some friends were playing. \"[Come and play with us|Stay here and play],\" they called. [{A^} wanted to stay very much|It looked like great fun|{A^} stopped for a moment], but {Ahe} said, \"[I have made a promise|I cannot, I gave my word|Not today. Someone is waiting].\" A little later, {hard}. \"[What now|How shall I go on]?\" thought {A}. [{Ahe^} did not turn back.|{Ahe^} thought for a while.] Then {Ahe} {how}.",
         "[The sun was already low|The sky was already red|The shadows were already long] when {A} knocked at the door of {B}. \"[This is for you|I have brought you something],\" said {A} and held out {O}. \"[It comes from {C}|{C^} sends it].\" {B^} [clapped {Bhis} hands|could hardly believe it|smiled from ear to ear]. \"[I have waited for it all day|I was afraid that it would not come]!\" {Bhe} said. \"[You must be tired. Come in and eat|Come in and warm yourself].\"",
         "[They ate soup and bread, and {A} told about the way.|{A^} got a big bowl of soup and a place by the fire.] The next day {C} [thanked {Ahim} warmly|said, \"I knew that I could trust you\"]. {learn} {end}"]
    return finish(st, env, rng, p, "[a promise is there to be kept|people trust those who keep their word|it is good to finish what you have begun]",
        "{A^} promised to take {ao} to {B} before sunset. The way was hard, but {Ahe} kept {Ahis} promise.",
        [("who_helped", "{A^} helped {C}."), ("problem", "The way was long, and {hard}."), ("gift", "{A^} brought {B} {aoo}."), ("took", "{A^} took {aoo} to {B}."), ("ending", "{A^} came to {B} before sunset and kept the promise.")])


def noise(st, env, rng):
    st.theme, st.keeper = "courage", "A"
    env["sound"], env["what"] = rng.choice([("a scratching sound", "a little bird was building a nest"), ("a low hum", "the wind was blowing through a hollow branch"),
        ("a strange knocking", "a woodpecker was looking for its supper"), ("a squeaking sound", "an old gate was swinging in the wind"), ("a soft tapping", "drops of water were falling on a leaf"), ("a loud rumbling", "an old bear was snoring")])
    p = ["{open} {like} One night {Ahe} woke up. There was {sound}! It came from somewhere {s1}. [{A^} pulled the blanket over {Ahis} head.|{A^} held {Ahis} breath.|{A^} did not dare to move.]",
         "In the morning {Ahe} told {Bint} about it. \"[It must be a monster|Perhaps it was a ghost|It may have been a giant],\" said {B}. [Soon everybody spoke about the monster.|By noon, everyone {at} was afraid.] That night, they all heard {sound} again. \"[We must run away|Lock all the doors|Nobody may go outside],\" cried {B}.",
         "But {A} was tired of being afraid. \"[I want to know what it is|Somebody has to look],\" {Ahe} said. {Ahe^} took {aoo} and [walked slowly towards the sound|went out without a noise]. {B^} came along, close behind {Ahim}. The sound grew louder and louder. [{B^} shook all over.|\"Let us go back,\" whispered {B}.] {A^} looked {s1}, and then {Ahe} began to laugh. There was no monster at all: {what}!",
         "[How they laughed!|\"So that was the terrible monster,\" said {B} and laughed too.|{B^} was a little ashamed and then laughed loudest of all.] They [told everyone|woke the others and told them], and from then on they all slept well. {learn}"]
    return finish(st, env, rng, p, "[things are less frightening when you look at them|most monsters are only noises in the dark|it is better to look than to be afraid]",
        "{A^} and {B} heard {sound} at night and thought that it was a monster. {A^} went to look, and {what}.",
        [("problem", "There was {sound} at night, and everyone was afraid."), ("took", "{A^} took {aoo}."), ("where_obj2", "The sound came from {s1}."), ("ending", "There was no monster: {what}.")])


def surprise(st, env, rng):
    st.theme, st.keeper = "friendship", "A"
    p = ["{open} {Ahis^} best friend was {Bint}. One day it was {A}'s birthday. [{Ahe^} woke up early and could hardly wait.|{Ahe^} jumped out of bed and ran outside.]",
         "{Ahe^} went to {B}, but {B} only said, \"[I have no time today|I am busy now|Not today, I have work to do],\" and closed the door. {A^} went to {Cint}. \"[Good morning. Is it not a special day|Do you know what day it is]?\" asked {A}. \"[I do not think so|It is a day like any other],\" said {C} and went away quickly. [{A^} walked about alone.|Nobody had time for {Ahim}.] At noon {Ahe} sat {s1} and was {sad}. \"[They have all forgotten me|Nobody remembers my birthday],\" {Ahe} thought.",
         "In the evening, [{A} saw a light {s2}|{A} heard whispering {s2}]. [Slowly {Ahe} went nearer.|{Ahe^} went to see what it was.] \"Surprise!\" cried many voices. Everyone was there! [There was a cake with candles, and lights hung all around.|There was a long table with cake and lemonade.] \"[We had to keep it a secret, or it would not have been a surprise|I am sorry that I sent you away, but the cake was not ready],\" said {B}. And {Bhe} gave {A} {aoo}.",
         "{A^} [laughed and cried at the same time|did not know what to say|hugged them all, one after the other]. [They sang and danced until the stars came out.|It was the finest birthday of all.] {learn} {end}"]
    return finish(st, env, rng, p, "[good friends do not forget you|one should not think badly of friends too soon|a friend who seems far away may be very near]",
        "{A^} thought that everyone had forgotten {Ahis} birthday. But {B} and the others had made a surprise party.",
        [("gift", "{B^} gave {A} {aoo}."), ("problem", "{A^} thought that everyone had forgotten {Ahis} birthday."), ("where_obj2", "The party was {s2}."), ("ending", "There was a surprise party, and {A} got {aoo}.")])


def winter(st, env, rng):
    st.theme, st.keeper = "being prepared", "A"
    p = ["{open} All summer long, {Ahe} [lay in the sun|played and sang|slept {s4}]. {Ahis^} neighbour was {Bint}, who [worked from morning to evening|gathered food and wood every day]. \"[Why do you work so hard? Come and play|Come and play. The sun is shining]!\" called {A}. \"[Winter will come|I am getting ready for the winter],\" said {B}. \"[You should do the same|You should store some food too].\" \"[There is plenty of time|Winter is far away],\" laughed {A}.",
         "Then the leaves fell, and one night the first snow came. [Everything was white and cold.|The wind was icy.] {A^} had [no food and no wood|nothing to eat and nothing to burn]. {Ahe^} looked {s1}, but there was not even a nut. {Ahe^} looked {s2}, but [there was only snow|everything was frozen]. [{Ahe^} shivered|{Ahe^} was hungry], and {Ahe} thought of the warm days.",
         "At last {Ahe} took the only thing {Ahe} owned, {aoo}, and knocked at {B}'s door. \"[I was foolish|You were right, and I was wrong],\" {Ahe} said. \"I am cold and hungry. I will give you my {o} for a little bread.\" {B^} [looked at {Ahim} kindly|opened the door wide]. \"[Come in, there is enough for two|Sit down by the fire],\" {Bhe} said. \"[Keep your {o}|I do not want your {o}]. But next summer, you will work with me.\"",
         "[So they spent the winter together and told each other stories.|All winter, {A} sang and {B} cooked, and it was warm and merry.] And when summer came, {A} [was the first to get up|worked as hard as {B}]. {learn} {end}"]
    return finish(st, env, rng, p, "[it is wise to think of the winter in summer|there is a time to play and a time to work|who plans ahead need not be afraid of the cold]",
        "{A^} played all summer and had no food in winter. {B^} took {Ahim} in, and the next summer they worked together.",
        [("who_helped", "{B^} helped {A}."), ("problem", "{A^} had no food and no wood for the winter."), ("took", "{A^} took {aoo} to {B}."), ("ending", "{B^} let {A} stay for the winter, and the next summer they worked together.")])


def boast(st, env, rng):
    st.theme, st.keeper = "being modest", ""
    env["big"] = pick("[I can jump over the moon|I once fought with ten wolves|I am the strongest of all|I can carry a whole house|I have sailed around the world]", rng)
    p = ["{open} {Ahe^} liked to boast. \"{big},\" {Ahe} said to everyone. [The others shook their heads.|Nobody quite believed it.|Some believed it, and some did not.] Only {Bint} always listened quietly.",
         "{day^}, the wind blew {aoo} up into a tall tree {s1}. It belonged to {Cint}. \"[You are so strong and brave. Please get it for me|You can do everything. Please bring it down],\" {C} said to {A}. {A^} [turned pale|looked up and felt dizzy]. \"[Of course. Nothing is easier|That is nothing for me],\" {Ahe} said. {Ahe^} climbed up to the first branch. Then {Ahe} looked down, and {Ahis} knees began to shake. [{Ahe^} could not go up, and {Ahe} could not go down.|\"Help! I am stuck!\" cried {A}.]",
         "{B^} said nothing and began to climb. [Slowly and carefully|Branch by branch], {Bhe} went up to the top and took {O}. On the way down, {Bhe} stopped beside {A}. \"[Come, I will help you|Hold on to me and do not look down],\" said {B}. [Soon they both stood on the ground.|Step by step they came down together.] {C^} thanked {B} and was happy to have {O} again.",
         "{A^} [looked at {Ahis} feet|turned red]. \"[I cannot do all those things that I said|I am not as brave as I said],\" {Ahe} said in a low voice. \"[That does not matter|It is brave to say that],\" said {B}. \"[We like you as you are|You do not need big words to be our friend].\" {learn} {end}"]
    return finish(st, env, rng, p, "[quiet deeds are better than loud words|it is better to do than to boast|you need not be great to be loved]",
        "{A^} liked to boast, but could not bring {O} down from a tree. {B^} did it quietly and helped {A} down too.",
        [("who_helped", "{B^} helped {A} and brought {O} down."), ("owner", "{O^} belonged to {C}."), ("where_obj", "{O^} was in a tall tree {s1}."), ("problem", "{A^} liked to boast and then got stuck in a tree."), ("ending", "{B^} brought {O} down, and {A} stopped boasting.")])


def soup(st, env, rng):
    st.theme, st.keeper = "sharing", "A"
    env["v1"], env["v2"], env["v3"] = rng.sample(["carrots", "potatoes", "onions", "beans", "mushrooms", "turnips", "herbs", "peas"], 3)
    p = ["{open} It had been a hard year, and everybody {at} was hungry. [Each one hid the little that was left.|Nobody gave anything to anyone.] {A^} had nothing but {aoo} and a big pot.",
         "{day^}, {A} made a fire {s1}, filled the pot with water and began to stir. {Bint^} came by. \"What are you cooking?\" asked {B}. \"[Magic {o} soup|Soup made from {ao}],\" said {A} and put {O} beside the pot. \"[It is the best soup in the world|It will be wonderful]. Only a few {v1} are missing.\" \"[I have some {v1} at home|I think I have a few {v1}],\" said {B}, and ran to fetch them.",
         "Then {Cint} came. \"[That smells good|What smells so good]?\" asked {C}. \"[It is almost ready|It is very good soup],\" said {A}, \"but a few {v2} would make it even better.\" {C^} [went home and brought {v2}|had a bag of {v2} in the cellar and brought it]. Soon others came with {v3}, with salt and with bread. The pot [bubbled|steamed], and it smelled [better and better|like a feast].",
         "[At last|Finally] they all sat down together and ate. [Nobody had eaten so well for a long time.|There was enough for everyone, and even a little more.] \"[And all that from one {o}|What a wonderful {o}],\" said {B}. {A^} smiled. \"[It was not my {o}|{O^} did nothing],\" {Ahe} said. \"[It was what each of you gave|It was all of you together].\" {learn} {end}"]
    return finish(st, env, rng, p, "[when everyone gives a little, there is enough for all|sharing fills every plate|many small gifts make a feast]",
        "Everybody was hungry. {A^} made soup from nothing but {ao}, and because each one brought something, it became a feast.",
        [("who_helped", "{B^} brought {v1}, and {C} brought {v2}."), ("problem", "Everybody was hungry, and nobody wanted to share."), ("where_obj2", "{A^} cooked the soup {s1}."), ("ending", "Each one brought something, and they all ate together.")])


def bridge(st, env, rng):
    st.theme, st.keeper = "politeness", "A"
    p = ["{open} {day^}, {Ahe} was carrying {aoo} home. The way went over a narrow bridge. [Only one could walk on it at a time.|It was only one plank wide.] In the middle of the bridge {Ahe} met {Bint}, who came from the other side.",
         "\"[Let me pass|Go back],\" said {A}. \"[I was here first|I am in a hurry].\" \"[No, I was here first|No, you go back],\" said {B}. They stood nose to nose, and neither of them moved. [The sun climbed higher.|An hour went by.|A magpie sat down and laughed at them.] \"[I can wait|I have time],\" said {A}. \"[So can I|I can wait longer],\" said {B}. Then they began to push, and splash! Both of them fell into the cold water, and {O} fell in too.",
         "{Cint^}, who was sitting nearby, helped them out. \"[If one of you had gone back, you would both be dry now|One step back would have been enough],\" said {C}. {A^} and {B} sat on the bank, wet and cold. [They looked at each other and began to laugh.|First they were angry, and then they had to laugh.] \"I am sorry,\" said {A}. \"I am sorry too,\" said {B}. Then {B} saw {O} floating among the reeds and [pulled it out|fetched it with a stick].",
         "The next day they met on the bridge again. \"After you,\" said {A} and stepped back. \"No, after you,\" said {B} and stepped back as well. [And they both laughed so hard that they almost fell in again.|So they stood there for a while, but this time they were laughing.] {friends} {learn} {end}"]
    return finish(st, env, rng, p, "[a polite word opens the way|it costs nothing to step back|stubborn heads get wet feet]",
        "{A^} and {B} met on a narrow bridge, and neither would step back. They both fell into the water and then became friends.",
        [("who_helped", "{C^} helped them out of the water."), ("problem", "Neither {A} nor {B} wanted to step back on the bridge."), ("what_lost", "{O^} fell into the water, but {B} pulled it out."), ("where_obj", "{O^} was among the reeds."), ("ending", "They fell into the water and then became friends.")])


def moon(st, env, rng):
    st.theme, st.keeper = "asking before acting", "A"
    p = ["{open} {like} One night {Ahe} looked into the well and was frightened. \"[The moon has fallen into the well|Oh no, the moon is in the well]!\" cried {A}. [There it was, round and white, deep down in the water.|It shone up at {Ahim} from the dark water.]",
         "{A^} ran to wake {Bint}. \"[Come quickly|Get up]! [The moon will drown|We must save the moon]!\" {B^} looked into the well and saw it too. So they fetched {aoo}, tied it to a long rope and let it down into the water. \"[I have got it|I can feel it],\" said {A}. \"Now pull!\" They pulled [with all their strength|as hard as they could]. But {O} was caught on a stone, and suddenly the rope slipped. They both fell over on their backs.",
         "And there, high above them, hung the moon in the sky! \"[We did it|We have saved it]!\" cried {A}. \"[We pulled so hard that it flew back up|It is back in its place]!\" They danced around the well. {Cint^}, who had been awake all the time, [laughed softly|smiled]. \"[What you saw in the well was only its picture in the water|The moon was in the sky all night long],\" said {C}. \"[Next time, look up before you pull|You could have asked me].\"",
         "{A^} [looked down into the well, and then up at the sky|looked up and down three times]. Then {Ahe} began to laugh, and {B} laughed too. [They pulled {O} out and went home to bed.|They fetched {O} out of the well and went home.] {learn} {end}"]
    return finish(st, env, rng, p, "[it is good to ask before you act|one should look twice before one worries|not everything is what it seems to be]",
        "{A^} saw the moon in a well and wanted to save it with {B}. But it was only its picture in the water.",
        [("who_helped", "{B^} helped {A}."), ("problem", "{A^} thought that the moon had fallen into the well."), ("took", "They took {aoo} and a long rope."), ("where_obj", "{O^} was in the well, caught on a stone."), ("ending", "The moon was in the sky all the time, and they laughed about it.")])


def treasure(st, env, rng):
    st.theme, st.keeper = "friendship", "AB"
    p = ["{open} {day^}, {Ahe} found an old map {s1}. [There was a red cross on it.|On it somebody had drawn a path and a cross.] \"[A treasure map|That must be a treasure]!\" cried {A} and ran to {Ahis} friend. This friend was {Bint}. \"[Let us find it|We will be rich],\" said {B}.",
         "They packed [bread and cheese|apples and nuts|a spade and some bread] and set out. First the map led them {s2}. [They counted a hundred steps.|There they had to turn left.] Then it began to rain, and they [hid under a big leaf|waited under a tree] and told each other jokes. [Once they got lost, and {B} climbed a tree to find the way.|{A^} was afraid of the dark path, so {B} went first.|{B^} fell into a puddle, and {A} pulled {Bhim} out.]",
         "At last they stood {s3}, where the cross was. They dug and dug. [Clonk!|Then there was a clonk.] It was an old chest. Slowly they opened the lid. There was no gold in it and no silver, but only {aoo} and a small note. \"[You have come a long way together, and that is the real treasure|If you have come this far, you have a true friend, and that is the treasure],\" {A} read.",
         "{A^} looked at {B}, and [they both began to laugh|they both smiled]. \"[That is true. It was the best day of my life|I would not trade it for gold],\" said {B}. They took {O} home and [put it where both of them could see it|took turns keeping it]. {learn} {end}"]
    return finish(st, env, rng, p, "[friendship is the real treasure|the way with a friend is worth more than gold|the best treasures cannot be sold]",
        "{A^} found a treasure map and went with {B} to look for the treasure. In the chest there was only {ao}, but they had found that friendship is the treasure.",
        [("what_found", "They found an old chest with {aoo} in it."), ("where_obj", "The treasure was {s3}."), ("problem", "They wanted to find the treasure, and the way was long."), ("who_helped", "{A^} and {B} helped each other."), ("ending", "There was only {aoo} in the chest, but they had had a wonderful day.")])


def smallhelp(st, env, rng):
    st.theme, st.keeper = "kindness", "A"
    p = ["{open} {Bint^} lived {s1}. {B^} was [strong and loud|proud and loud], and [often laughed at {A}|took no notice of {A}]. {day^}, {A} was in great trouble: {Ahe} had [slipped and fallen into deep water|been blown into the water by the wind]. {B^} [pulled {Ahim} out|held out a branch and saved {Ahim}]. \"[Thank you|You have saved me],\" said {A}. \"One day I will help you too.\" {B^} laughed. \"[How could someone like you help me|You? Help me]?\"",
         "Not long after that, {B} walked into a net that hunters had left {s2}. [The more {Bhe} pulled, the tighter it became.|{Bhe^} pulled and kicked, but the net held fast.] {Bhe^} called for help, but nobody [came|heard {Bhim}]. Only {A} heard the call. {Ahe^} ran [as fast as {Ahe} could|without stopping].",
         "\"[Lie still|Do not pull],\" said {A}. [Knot by knot|One knot after the other], {Ahe} opened the net with [great patience|great care]. It took half the night. [{Ahis^} eyes were heavy|{Ahe^} was very tired], but {Ahe} did not stop. When the sun came up, the last knot was open, and {B} was free.",
         "{B^} [lowered {Bhis} head|was silent for a long time]. \"[I laughed at you, and now you have saved me|I was wrong to laugh],\" {Bhe} said. And {Bhe} gave {A} {aoo} as a sign of friendship. {friends} {learn} {end}"]
    return finish(st, env, rng, p, "[even the small can help the great|no kindness is ever lost|one should not laugh at a small friend]",
        "{B^} saved {A} from the water and laughed at the idea that {A} could help. Later {A} freed {B} from a net.",
        [("who_helped", "First {B} helped {A}, and then {A} helped {B}."), ("where_b", "{B^} was in a net {s2}."), ("gift", "{B^} gave {A} {aoo}."), ("problem", "{B^} was caught in a net."), ("ending", "{A^} opened the net, and {B} gave {Ahim} {aoo}.")])


def fog(st, env, rng):
    st.theme, st.keeper = "helping each other", "B"
    p = ["{open} {like} {day^}, {Ahe} walked farther than ever before. [{Ahe^} followed a dragonfly.|{Ahe^} wanted to see what was behind the hill.|{Ahe^} looked for berries.] {Ahe^} did not notice that thick fog was coming up. [Soon {Ahe} could not see {Ahis} own feet.|Soon everything was white.]",
         "\"[Where am I|Which way is home]?\" asked {A}. {Ahe^} walked to the left, but [everything looked strange|saw nothing that {Ahe} knew]. {Ahe^} walked to the right and [came back to the same place {s1}|stood {s1} again]. [{Ahe^} called, but the fog swallowed {Ahis} voice.|It grew cold and dark.] {A^} sat down and was {sad}.",
         "At home, {Bint} [noticed that {A} was missing|waited with supper and began to worry]. \"[My friend must be lost in the fog|Something is wrong],\" said {B}. {Bhe^} took {aoo}, went {s2} and [sang as loudly as {Bhe} could|called and sang without stopping]. [An hour went by.|{Bhis^} voice grew hoarse, but {Bhe} did not stop.] Far away, {A} lifted {Ahis} head. \"[That is a voice! Somebody is singing|That is the song of my friend],\" {Ahe} said. Step by step {Ahe} followed the sound.",
         "And then {A} saw {B}, who was standing there with {O}. \"[There you are|You are safe]!\" cried {B}. \"[Your song showed me the way|I heard you, and I was not afraid any more],\" said {A}. They went home together and ate [hot soup|warm bread and honey]. {learn} {end}"]
    return finish(st, env, rng, p, "[the voice of a friend shows the way|a friend is a light in the fog|nobody is lost who has a friend]",
        "{A^} got lost in the fog. {B^} sang loudly until {A} heard {Bhim} and found the way home.",
        [("who_helped", "{B^} helped {A} by singing."), ("problem", "{A^} got lost in the fog."), ("where_b", "{B^} was {s2}."), ("took", "{B^} took {aoo}."), ("ending", "{A^} followed the song and came home safely.")])


PLOTS = [lost, found, broken, dark, share, race, skill, stuck, grow, newcomer, gift, journey, trade, wish, storm,
         letter, noise, surprise, winter, boast, soup, bridge, moon, treasure, smallhelp, fog]
THEMES = {
    "honesty": [found, broken], "telling the truth": [broken], "courage": [dark], "being brave": [dark], "sharing": [share, soup],
    "patience": [grow, skill], "never giving up": [race, skill], "kindness": [newcomer, gift, wish], "friendship": [lost, newcomer, dark],
    "working together": [stuck, storm], "helping others": [storm, stuck, gift], "being content": [trade], "a journey": [journey],
    "magic": [wish], "a storm": [storm], "a race": [race], "a birthday": [gift], "the dark": [dark], "a wish": [wish],
    "learning something new": [skill], "a lost thing": [lost], "making new friends": [newcomer], "following a dream": [journey], "greed": [trade],
    "a quarrel": [share], "forgiveness": [broken], "hope": [grow, journey], "love": [gift, wish], "adventure": [journey, treasure],
    "a promise": [letter], "keeping a promise": [letter], "monsters": [noise], "fear": [noise, dark], "a surprise": [surprise], "a party": [surprise],
    "winter": [winter], "laziness": [winter], "hard work": [winter, gift], "pride": [boast, race], "being modest": [boast], "soup": [soup], "hunger": [soup, winter],
    "politeness": [bridge], "being stubborn": [bridge], "the moon": [moon], "a treasure": [treasure], "treasure": [treasure], "small heroes": [smallhelp],
    "getting lost": [fog], "the fog": [fog], "trust": [letter, broken], "teamwork": [stuck, storm, soup], "friends": [lost, treasure, surprise],
}


def tell(want, rng, plots=None):
    st = Story(want=want)
    env, (st.a, st.b, _) = environment(want, rng)
    choices = list(plots or (THEMES[want.theme] if want.theme else PLOTS))
    if want.obj:
        skill_ok = any(s[4] == want.obj for s in W.SKILLS)
        choices = [p for p in choices if not (p is skill and not skill_ok) and not (p is grow and want.obj not in W.GROW)]
        choices = choices or [lost, found, newcomer]
    return rng.choice(choices)(st, env, rng)


# ---------------------------------------------------------------- what happens next

def sequel(st, rng):
    """A short continuation with the same cast, which agrees with how the story ended."""
    env = dict(st.env)
    env["Cx"] = env["C"] if env["C"] in st.text else env["Cint"]
    has = {"A": "{A}", "B": "{B}", "AB": "the two friends"}.get(st.keeper, "")
    start = "[The next morning|The next day|A few days later|A week later|Some time later|Soon after that], "
    opts = [
        start + "{A} and {B} [met {s4}|sat together {s4}]. \"[What shall we do today|I am bored. What can we do]?\" asked {A}. \"[Let us build a raft|Let us have a picnic|Let us climb the hill],\" said {B}. [They worked and laughed until noon.|It took them all morning.] [Then it began to rain, but they did not mind.|When the sun went down, they were tired and happy.] \"[That was the best day of all|Let us do it again tomorrow],\" said {B}.",
        start + "{A} went to visit {B}. \"[Come in|How good to see you],\" said {B}. \"[I have made soup|I have baked a cake|I have made tea].\" They ate and talked about [everything that had happened|their adventure]. [Outside it grew dark, but inside it was warm.|The candle burned low, and still they talked.] At last {A} said, \"[You are a good friend|I am glad that I met you].\" And {B} [smiled|nodded and smiled].",
        start + "{A} woke up early and had an idea. \"[Let us make a garden|Let us build a little house in a tree|Let us paint the old fence],\" {Ahe} said to {B}. They worked {s4} for three days. [Sometimes it went wrong, and then they laughed and began again.|{B^} carried the heavy things, and {A} did the fine work.] When it was done, [all the neighbours came to see it|they sat down and looked at it for a long time]. \"[We did that together|That is the best thing we ever made],\" said {A}.",
        start + "{B} was not at home. {A^} looked {s4} and called, but nobody answered. [{Ahe^} began to worry.|\"That is strange,\" thought {A}.] Then {Ahe} heard a giggle behind a bush. \"[Found you|There you are]!\" cried {A}. \"[It took you long enough|I have been hiding for an hour],\" laughed {B}. And then it was {A}'s turn to hide.",
        start + "it rained all day long. {A^} sat by the window. [Nothing could be done outside.|Everything was grey.] Then there was a knock at the door. It was {B}, wet from head to foot. \"[I thought that you might be lonely|I have brought cookies],\" {Bhe} said. They sat by the fire, ate and told each other riddles. \"[I hope that it rains tomorrow too|Rainy days are the best days],\" said {A}.",
        start + "a [small|lost|little] [kitten|duckling|rabbit|bird] came to {A}. \"[I cannot find my mother|I am lost],\" it said. {A^} [remembered how good it is to have help|knew what to do]. {Ahe^} called {B}, and together they [searched until evening|walked from house to house|followed the tiny footprints]. They found the mother {s4}. [How happy she was!|She thanked them again and again.] {A^} and {B} went home [singing|with warm hearts].",
        start + "there was a big feast {at}. [Everyone was invited.|There were lights in all the trees.] {A^} danced with {B}, and [the music played until midnight|they ate so much cake that they could hardly walk]. {Cx^} told the story of what had happened, and everybody [clapped|cheered]. [{A^} turned red, but {Ahe} was proud.|{A^} smiled and said nothing.]",
        start + "the first snow fell. {A^} and {B} [built a big snowman|made a long slide|had a snowball fight] {s4}. [Their noses were red and their feet were cold.|They laughed until they could not stand.] Then they went inside, and {A} made hot [milk|chocolate|tea]. \"[Winter is not so bad with a friend|I hope that it snows tomorrow too],\" said {B}.",
    ]
    if env["place"] in ("the desert", "the swamp", "the sea", "the island"):
        opts.pop()              # no snow there
    if has:
        opts += [start + has + " took out {O} again. \"[Do you remember|It seems so long ago]?\" said {A}. \"Yes,\" said {B}, \"[I will never forget it|that was quite a day].\" [They polished {O} until it looked like new.|They put {O} in a place where everyone could see it.] [Then they went out to look for a new adventure.|And whenever they looked at it, they remembered what they had learned.]",
                 start + "{Cx} saw {O}. \"[What a fine {o}|That is a beautiful {o}],\" said {C}. \"[Where did it come from|Is there a story behind it]?\" So {A} [sat down and told everything|told the whole story], from the beginning to the end. {C^} listened [with wide eyes|and nodded]. \"[That is a story that must be remembered|Stories like that make the evenings short],\" said {C}."]
    return render(rng.choice(opts).replace("again. \"[Do you remember|It seems so long ago]?\"", "again. \"[Do you remember that day|Does it not seem long ago]?\""), env, rng)


QUESTIONS = {
    "what_lost": ["What was lost?", "What did they lose?", "What was missing?"],
    "who_helped": ["Who helped?", "Who helped in the story?", "Who was the helper?"],
    "where_obj": ["Where was {O}?", "Where was the {o}?", "where was {O}"],
    "where_b": ["Where was {B}?"],
    "where_obj2": ["Where did it happen?", "Where was that?"],
    "what_found": ["What did {A} find?", "What was found?"],
    "owner": ["Whose {o} was it?", "Who did {O} belong to?", "Who owned {O}?"],
    "problem": ["What was the problem?", "What went wrong?", "What was the trouble?"],
    "ending": ["How did it end?", "How does the story end?", "What happened in the end?"],
    "winner": ["Who won?", "Who won the race?"],
    "prize": ["What was the prize?", "What did the winner get?"],
    "wish": ["What did {A} want?", "What was the wish?", "What did {A} wish for?"],
    "gift": ["What was the present?", "What was given?", "Who gave what to whom?"],
    "took": ["What did {A} take along?", "What did {A} take?"],
    "planted": ["What did {A} plant?"],
    "work": ["What work did {A} do?", "How did {A} earn the money?"],
    "traded": ["What did {A} trade?", "What were the trades?"],
    "moral": ["What is the moral?", "What is the moral of the story?", "What did {A} learn?", "What do we learn from it?", "What is the lesson?", "what is the moral"],
    "summary": ["Tell it in one sentence.", "Can you sum it up?", "Make it shorter.", "What was the story about?", "Give me the short version.", "Summarize it.", "Summary please"],
    "home": ["Where did {A} live?", "Where does the story happen?", "Where was it?"],
    "colour": ["What did {O} look like?", "What kind of {o} was it?", "What colour was {O}?"],
    "who_b": ["Who is {B}?", "Who was {B}?"],
    "who_a": ["Who is {A}?", "Who is the story about?", "Who is the hero?"],
}


def questions(st, rng):
    """(question, answer) pairs that the story itself decides."""
    env, want = st.env, st.want
    out = list(st.qa)
    out.append(("moral", render("[The moral is that {moral}.|{A^} learned that {moral}.|The story says that {moral}.]", env, rng)))
    out.append(("moral", render("[The moral is that {moral}.|It says that {moral}.]", env, rng)))
    out.append(("summary", st.short))
    out.append(("home", render("{A^} lived {where}.", env, rng)))
    if env["adj"] and (st.keeper or "{o}" in st.short) and any(env["aoo"] in p for p in [st.text]):
        out.append(("colour", render("It was {aoo}.", env, rng)))
    b = st.b
    out.append(("who_b", render("{B^} is [a character in the story|in the story together with {A}]: " + art((b.adj + " " + b.kind).strip()) + "." if b.by_name
                                else "The {Bkind} in the story is called " + b.name + "." if b.name else "{B^} is in the story together with {A}.", env, rng)))
    out.append(("who_a", render("The hero of the story is {Aint}.", env, rng)))
    key, answer = rng.choice(out)
    return render(rng.choice(QUESTIONS[key]), env, rng), answer
