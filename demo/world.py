"""The closed world of the demo model: who may appear, what lies about, where.

Every word here was written for moped; nothing is copied from another corpus.
"""

# name: (what it is, where it lives, what it eats, a habit, its sound)
ANIMALS = {
    "fox": ("a clever animal with red fur and a long, soft tail", "in a den in the forest", "mice, berries and eggs", "It likes to hunt in the evening", "barks and yelps"),
    "mouse": ("a very small animal with round ears and a thin tail", "in a hole in a wall or a field", "seeds, grain and crumbs", "It runs very quickly and makes hardly any noise", "squeaks"),
    "hedgehog": ("a small, round animal covered with spines", "under hedges and piles of leaves", "beetles, worms and snails", "When it is afraid, it rolls up into a ball", "snuffles"),
    "owl": ("a bird with big eyes and soft feathers", "in hollow trees and old barns", "mice and beetles", "It flies at night and hardly makes a sound", "hoots"),
    "bear": ("a big, strong animal with thick fur", "in a cave in the forest", "berries, fish and honey", "It sleeps through most of the winter", "growls"),
    "rabbit": ("a soft animal with long ears and strong back legs", "in a burrow under the meadow", "grass, clover and carrots", "It hops away when it hears a noise", "hardly makes a sound, but it thumps with its feet"),
    "frog": ("a small green animal with long legs and wet skin", "in ponds and wet grass", "flies and other insects", "It jumps far and swims well", "croaks"),
    "duck": ("a water bird with a flat beak", "on ponds and rivers", "water plants, snails and seeds", "Its feathers never get wet", "quacks"),
    "squirrel": ("a small, quick animal with a bushy tail", "in a nest in a tall tree", "nuts, seeds and acorns", "In autumn it hides nuts for the winter", "chatters"),
    "badger": ("a strong animal with a black and white face", "in a deep burrow in the woods", "worms, roots and fruit", "It digs tunnels and sleeps during the day", "grunts"),
    "cat": ("a soft animal with whiskers and sharp claws", "in houses and on farms", "fish, meat and mice", "It loves to sleep in the sun", "meows and purrs"),
    "dog": ("a loyal animal with a good nose", "with people", "meat, bones and biscuits", "It guards the house and loves to run", "barks"),
    "wolf": ("a wild animal with grey fur and long legs", "in forests and mountains", "meat", "It runs and hunts together with its family", "howls"),
    "crow": ("a clever black bird", "in tall trees near fields", "seeds, insects and almost anything else", "It likes to collect shiny things", "caws"),
    "sparrow": ("a small brown bird", "in bushes and under roofs", "seeds and insects", "It hops on the ground with its friends", "chirps"),
    "robin": ("a small bird with a red breast", "in gardens and woods", "worms, insects and berries", "It sings even in winter", "sings and whistles"),
    "goose": ("a big white or grey bird with a long neck", "on farms and lakes", "grass and grain", "It flies south in a long line", "honks"),
    "hen": ("a farm bird that lays eggs", "in a hen house", "grain and worms", "It scratches in the earth all day", "clucks"),
    "goat": ("an animal with horns and a little beard", "on farms and steep hills", "grass, leaves and twigs", "It climbs rocks without any fear", "bleats"),
    "sheep": ("a gentle animal with thick wool", "in meadows", "grass and clover", "Its wool is used to make warm clothes", "bleats"),
    "cow": ("a big farm animal that gives milk", "in meadows and barns", "grass and hay", "It chews its food for a very long time", "moos"),
    "horse": ("a large, strong animal with a long mane", "in stables and meadows", "grass, hay and oats", "It can run fast and carry people", "neighs"),
    "donkey": ("a patient animal with long ears", "on farms", "grass and hay", "It carries heavy bags and is sometimes stubborn", "brays"),
    "pig": ("a round, clever animal with a flat nose", "in a pen on a farm", "corn, roots and apples", "It rolls in the mud to keep cool", "oinks and grunts"),
    "turtle": ("a slow animal with a hard shell", "near ponds and rivers", "leaves, berries and small fish", "It hides in its shell when it is afraid", "makes hardly any sound"),
    "snail": ("a tiny, slow animal that carries its house", "in gardens and wet grass", "leaves", "It comes out when it rains", "makes no sound at all"),
    "bee": ("a small insect with yellow and black stripes", "in a hive", "nectar from flowers", "It makes honey for the winter", "buzzes"),
    "ant": ("a tiny insect that is very strong", "in a nest under the ground", "seeds, crumbs and sweet things", "It works together with thousands of others", "makes no sound that we can hear"),
    "butterfly": ("an insect with wide, bright wings", "in gardens and meadows", "nectar from flowers", "Before it could fly, it was a caterpillar", "makes no sound"),
    "deer": ("a shy animal with long, thin legs", "in the forest", "grass, buds and leaves", "It runs away at the smallest noise", "is quiet most of the time"),
    "beaver": ("an animal with a flat tail and strong teeth", "in rivers and lakes", "bark and twigs", "It cuts down trees and builds dams", "slaps the water with its tail"),
    "otter": ("a playful animal that swims very well", "along rivers", "fish and crabs", "It slides down muddy banks for fun", "whistles"),
    "mole": ("a small animal with soft black fur and wide paws", "in tunnels under the ground", "worms", "It can hardly see, but it feels everything", "is almost silent"),
    "bat": ("a small animal that flies with wings of skin", "in caves and attics", "insects", "It sleeps upside down during the day", "squeaks very high"),
    "elephant": ("a very big grey animal with a trunk", "in warm grasslands", "grass, leaves and fruit", "It never forgets a friend", "trumpets"),
    "lion": ("a big wild cat with a golden mane", "in dry grasslands", "meat", "It sleeps most of the day", "roars"),
    "tiger": ("a big wild cat with black stripes", "in warm forests", "meat", "It likes to swim on hot days", "roars"),
    "monkey": ("a clever animal with long arms and a long tail", "in trees in warm forests", "fruit and leaves", "It swings from branch to branch", "chatters"),
    "penguin": ("a black and white bird that cannot fly", "in cold places by the sea", "fish", "It swims fast and slides on its belly", "honks and brays"),
    "seagull": ("a white bird with grey wings", "by the sea", "fish and crumbs", "It glides on the wind above the harbour", "screams"),
    "swan": ("a large white bird with a long, bent neck", "on lakes and rivers", "water plants", "It stays with one partner all its life", "hisses and trumpets"),
    "raven": ("a large black bird that is very clever", "in mountains and forests", "almost anything", "It can learn to say words", "croaks"),
    "hamster": ("a tiny round animal with big cheeks", "in a cage or under a field", "seeds and nuts", "It carries food in its cheeks", "squeaks"),
    "lizard": ("a small animal with dry skin and a long tail", "among warm stones", "insects", "It lies in the sun to get warm", "makes hardly any sound"),
}
# may be asked for as heroes; no facts in the table
MORE_ANIMALS = """hare kitten puppy pony chick rooster lamb calf toad crab spider beetle ladybug
cricket camel giraffe zebra panda parrot peacock rat weasel lynx moose seal stork heron pigeon eagle
hawk woodpecker nightingale dove kangaroo koala snake crocodile hippo rhino gorilla raccoon skunk
porcupine caterpillar dragonfly firefly magpie swallow walrus whale dolphin fish turkey llama cheetah
leopard dinosaur chipmunk bunny bird worm wasp moth grasshopper newt salamander ferret""".split()

# kind: pronoun or None when either will do
BEINGS = {
    "girl": "she", "boy": "he", "princess": "she", "prince": "he", "king": "he", "queen": "she",
    "knight": None, "witch": "she", "wizard": "he", "giant": None, "dwarf": None, "troll": None,
    "fairy": "she", "dragon": None, "robot": None, "unicorn": None, "ghost": None, "monster": None,
    "snowman": "he", "baker": None, "farmer": None, "fisherman": "he", "miller": None,
    "shepherd": None, "sailor": None, "tailor": None, "gardener": None, "painter": None,
    "clockmaker": None, "pirate": None, "teacher": None, "doctor": None, "grandmother": "she",
    "grandfather": "he", "child": None, "elf": None, "mermaid": "she", "clown": None, "scarecrow": "he",
    "blacksmith": None, "postman": "he", "cook": None, "soldier": None, "musician": None, "woodcutter": None,
}
CHILD_KINDS = ["girl", "boy", "child"]

GIRLS = """Anna Mia Lily Emma Sara Nora Ella Lucy Rosa Clara Ida Maya Lena Julia Sophie Grace Alice Ruby
Hanna Eva Leah Marta Olivia Zoe Amy Kate Molly Daisy Ivy Jane Mary Elsa Greta Vera Tess Nina Lina Freya
Astrid Carla Amina Leila Yuki Priya Fatima Ines Bella Penny Susan Tina Wendy Helen Iris June Kim Laura
Maria Nelly Paula Rita Stella Tilda Una Violet Willa Agnes Betty Cora Dora Edith Flora""".split()
BOYS = """Tom Ben Sam Max Leo Jack Oliver Finn Peter Paul Jonas Emil Noah Luke Adam Theo Oscar Hugo Felix
Anton Jakob Liam Eric Nils Otto Karl Tim Dan Will Harry George Henry Charlie Arthur Oleg Ivan Omar Ali
Hassan Kenji Ravi Diego Pablo Marco Luca Mateo James John Robert David Mark Andy Bobby Chris Eddie Frank
Gus Ian Joe Kurt Lars Milo Ned Olaf Rob Simon Toby Victor Walter Alfred Bruno Carl Edgar""".split()
PETS = """Pip Moss Bramble Hazel Fern Dot Nib Button Pepper Clover Rusty Maple Acorn Willow Biscuit Tuck
Nettle Olive Bean Pebble Thistle Juniper Poppy Sorrel Rowan Ash Basil Ginger Toffee Crumb Dusty Bristle
Whisker Flick Patch Smudge Teasel Twig Barley Cricket Plum Rye Sage Tansy Velvet Wren Marlow Fennel
Bumble Cobble Dapple Ember Fig Grumble Honey Inky Jolly Kip Lark Mumble Nutmeg Oats Puddle Quill""".split()

ADJ_HERO = """little small young brave shy kind clever curious lazy proud lonely grumpy cheerful quiet gentle
hungry sleepy old tiny friendly careful stubborn busy forgetful poor happy sad""".split()
ADJ_FRIEND = "friendly old wise kind quiet cheerful young gentle patient busy".split()

COLOURS = "red blue green yellow white golden silver brown purple black".split()
SIZES = "small little old shiny pretty new tiny fine strange big".split()

# name: (what it is, what it is for)
OBJECTS = {
    "lantern": ("a lamp with a handle", "People carry it to see in the dark"),
    "key": ("a small piece of metal with teeth", "It opens and closes a lock"),
    "kite": ("a light toy made of paper or cloth on a long string", "It flies high when the wind blows"),
    "drum": ("a round instrument with a skin on top", "You beat it with your hands or with sticks"),
    "bell": ("a hollow piece of metal that rings", "It calls people or tells the time"),
    "kettle": ("a metal pot with a spout", "People boil water in it to make tea"),
    "boat": ("a small vessel that floats on water", "People row it or sail it"),
    "basket": ("a container made of woven twigs", "People carry apples and bread in it"),
    "umbrella": ("a round roof of cloth on a stick", "It keeps you dry in the rain"),
    "hat": ("a thing that you wear on your head", "It keeps the sun and the rain away"),
    "scarf": ("a long piece of cloth or wool", "You wear it around your neck when it is cold"),
    "book": ("many pages of paper between two covers", "It is full of stories or useful words"),
    "map": ("a picture of the land", "It shows you where to go"),
    "clock": ("a machine with two hands", "It tells the time"),
    "mirror": ("a smooth piece of glass", "You can see your own face in it"),
    "candle": ("a stick of wax with a string in it", "It burns and gives a soft light"),
    "ball": ("a round toy", "You can throw it, kick it and catch it"),
    "flute": ("a thin pipe with holes", "You blow into it to make music"),
    "violin": ("an instrument of wood with four strings", "You play it with a bow"),
    "spoon": ("a small tool with a round end", "You eat soup with it"),
    "blanket": ("a large, warm piece of cloth", "It keeps you warm at night"),
    "pillow": ("a soft bag full of feathers", "You rest your head on it"),
    "box": ("a container with four sides and a lid", "You can keep things in it"),
    "coin": ("a small round piece of metal", "You can buy things with it"),
    "ring": ("a small circle of metal", "People wear it on a finger"),
    "stone": ("a hard piece of rock", "You find it on the ground and in rivers"),
    "shell": ("the hard house of a sea animal", "If you hold it to your ear, you can hear the sea"),
    "feather": ("a light part of the coat of a bird", "It keeps a bird warm and helps it to fly"),
    "rope": ("a long, thick string", "You can tie and pull things with it"),
    "ladder": ("two long poles with steps between them", "You climb up and down on it"),
    "broom": ("a brush on a long stick", "You sweep the floor with it"),
    "bucket": ("a deep pot with a handle", "You carry water in it"),
    "wheel": ("a round thing that turns", "Carts and bicycles roll on it"),
    "sled": ("a low seat on two runners", "You slide down a snowy hill on it"),
    "wagon": ("a small cart with four wheels", "You pull it to carry heavy things"),
    "apple": ("a round, sweet fruit", "It grows on a tree and is ripe in autumn"),
    "pumpkin": ("a big orange fruit", "It grows on the ground and makes a good soup"),
    "cake": ("a sweet thing made of flour, eggs and sugar", "People eat it on birthdays"),
    "pie": ("a dish with a crust and a filling", "It is baked in an oven and tastes best warm"),
    "flower": ("the pretty part of a plant", "Bees visit it to drink nectar"),
    "seed": ("a tiny thing from which a plant grows", "You put it into the earth and water it"),
    "balloon": ("a thin bag full of air", "It floats up into the sky if you let go"),
    "teapot": ("a pot with a handle and a spout", "People make tea in it"),
    "cup": ("a small bowl with a handle", "You drink milk or tea from it"),
    "pencil": ("a thin stick of wood with grey lead in it", "You write and draw with it"),
    "letter": ("a message written on paper", "You send it to someone who is far away"),
    "whistle": ("a tiny pipe", "It makes a high, loud sound when you blow into it"),
    "compass": ("a small box with a needle that points north", "It helps you to find the way"),
    "telescope": ("a long tube with glass in it", "You can see the moon and the stars through it"),
    "doll": ("a toy that looks like a small person", "Children play with it"),
    "coat": ("a warm thing to wear", "You put it on when it is cold outside"),
    "button": ("a small round thing on a shirt or a coat", "It keeps the coat closed"),
    "needle": ("a thin, sharp piece of metal", "You sew cloth with it"),
    "crown": ("a golden ring for the head", "A king or a queen wears it"),
    "star": ("a bright point in the night sky", "It is really a sun that is very far away"),
    "bridge": ("a way over a river", "People walk across it with dry feet"),
    "nest": ("a small bed of twigs and grass", "Birds lay their eggs in it"),
    "honey pot": ("a round pot full of honey", "Bears and children like it very much"),
    "music box": ("a small box that plays a song", "You turn a little handle and listen"),
    "paper boat": ("a little boat folded from paper", "It floats on puddles and streams"),
}
NOT_HELD = {"bridge", "star"}       # have facts, but nobody carries them about
MORE_OBJECTS = """acorn arrow axe bag banana bench bicycle boot bottle bow bowl bracelet bread brush cap card
carpet carrot chain chair cheese cherry chest chocolate clover comb cookie cradle crayon crystal cushion
diamond dress drawing egg fan fiddle fishing rod flag fork glove guitar hammer harp helmet horn jar jewel
jug kazoo knife lamp lemon locket magnet marble mask medal mitten mug mushroom necklace net notebook nut
orange paddle paintbrush pan parcel peach pear pearl pen piano picture pinecone pipe plate pocket watch
pot potato present puppet purse puzzle quilt radio ribbon rocket rose saddle sandwich saw scissors shawl
shield ship shoe shovel skateboard slipper sock stick stool strawberry suitcase sunflower sword table
tambourine teacup teddy bear tent ticket top torch toy train treasure trumpet turnip vase wallet wand watch
wreath xylophone yo-yo snow globe toy car magic carpet golden egg wooden horse jam jar walking stick
flashlight bone leaf camera phone computer backpack""".replace("\n", " ")
_multi = ["fishing rod", "pocket watch", "teddy bear", "toy train", "snow globe", "toy car", "magic carpet",
          "golden egg", "wooden horse", "jam jar", "walking stick"]
for _m in _multi:
    MORE_OBJECTS = MORE_OBJECTS.replace(_m, "")
MORE_OBJECTS = [w for w in MORE_OBJECTS.split() if w != "scissors"] + _multi

# name: (preposition, what it is, two sentences of facts, spots)
PLACES = {
    "forest": ("in", "a place with very many trees", "Foxes, owls and deer live there", ["under the old oak", "behind a mossy stone", "in a hollow log", "beside the stream", "under the ferns", "near the blackberry bushes"]),
    "village": ("in", "a small group of houses in the country", "Everybody knows everybody there", ["behind the well", "under the market table", "beside the baker's door", "on the church steps", "near the mill", "under the chestnut tree"]),
    "garden": ("in", "a piece of land with flowers and vegetables", "Bees and children like it in summer", ["under the rose bush", "behind the watering can", "among the cabbages", "beside the pond", "under the apple tree", "near the garden gate"]),
    "meadow": ("in", "a wide field of grass and flowers", "Butterflies fly there and sheep eat the grass", ["in the tall grass", "under the willow", "beside the brook", "behind the haystack", "among the daisies", "near the wooden fence"]),
    "farm": ("on", "a place where people grow food and keep animals", "Cows, pigs and hens live there", ["behind the barn", "in the hay", "beside the hen house", "under the old cart", "near the pigpen", "by the water trough"]),
    "mountain": ("on", "a very high piece of land", "There is snow on top of it, even in summer", ["behind a large rock", "at the mouth of a cave", "beside the waterfall", "under the pine tree", "near the narrow path", "on a flat stone"]),
    "river": ("by", "a long stream of water that runs to the sea", "Otters, ducks and fish live in it", ["under the bridge", "among the reeds", "behind the old boat", "on the sandy bank", "beside the willow roots", "near the stepping stones"]),
    "sea": ("by", "a great deal of salt water", "Fish, crabs and whales live in it", ["between two rocks", "under the fishing nets", "behind the lighthouse", "in a heap of seaweed", "beside the old boat", "near the dunes"]),
    "lake": ("by", "a large piece of quiet water", "Swans and ducks swim on it", ["under the wooden pier", "among the reeds", "behind the boat house", "beside a fallen tree", "near the water lilies", "on the stony shore"]),
    "town": ("in", "a place with many streets and houses", "There are shops and a market there", ["behind the fountain", "under a park bench", "beside the toy shop", "near the clock tower", "on the library steps", "in the narrow lane"]),
    "castle": ("in", "a big, strong house of stone", "Kings and queens lived there long ago", ["behind the throne", "under the long table", "in the tower room", "beside the great gate", "near the kitchen fire", "on the winding stairs"]),
    "island": ("on", "a piece of land with water all around it", "You need a boat to get there", ["under a palm tree", "behind the rocks", "beside the little harbour", "in a small cave", "near the white beach", "among the shells"]),
    "valley": ("in", "the low land between two hills", "Often a river runs through it", ["behind the stone wall", "under the cherry tree", "beside the wooden bridge", "near the old mill", "among the bushes", "by the spring"]),
    "park": ("in", "a big garden for everybody in a town", "People walk, play and feed the ducks there", ["under the slide", "behind the big statue", "beside the duck pond", "on the green bench", "near the swings", "among the bushes"]),
    "swamp": ("in", "a wet place with mud, reeds and frogs", "It is often foggy there", ["on a mossy stump", "among the reeds", "behind a crooked tree", "beside a deep puddle", "under the wide leaves", "near the log bridge"]),
    "desert": ("in", "a very dry place with sand and stones", "It is hot by day and cold by night", ["behind a tall cactus", "at the foot of a dune", "beside the well", "under a flat rock", "near the palm trees", "in the shade of a wall"]),
}

# skill: (infinitive, first failure, second failure, success, object used or None)
SKILLS = [
    ("swim", "{Ahe} jumped in too fast, swallowed a lot of water and came out coughing", "{Ahe} kicked so wildly that {Ahe} only turned in circles", "{Ahe} swam all the way across and back again", None),
    ("sing", "{Ahis} voice cracked on the very first note", "{Ahe} sang too loudly and forgot the words", "{Ahis} song was so clear that everyone stopped to listen", None),
    ("whistle", "only air came out", "{Ahe} made a sound like a leaking kettle", "a clear, bright whistle flew over the rooftops", None),
    ("bake bread", "the bread came out as hard as a stone", "the bread burned and the room filled with smoke", "the bread was golden and soft and smelled wonderful", None),
    ("dance", "{Ahe} stepped on {Ahis} own feet and fell over", "{Ahe} turned left when everyone else turned right", "{Ahe} danced so lightly that everybody clapped", None),
    ("skate", "{Ahe} slipped and sat down hard on the ice", "{Ahe} slid straight into a heap of snow", "{Ahe} glided over the ice without a single wobble", None),
    ("play the flute", "the flute only squeaked", "the tune came out backwards and too slow", "a sweet tune rose from the flute", "flute"),
    ("play the drum", "{Ahe} hit the drum too hard and dropped both sticks", "the beat went faster and faster until nobody could follow", "the drum sounded as steady as a heart", "drum"),
    ("play the violin", "the violin screeched like a rusty door", "two strings would not stay in tune", "the violin sang softly and sweetly", "violin"),
    ("fly a kite", "the kite fell on {Ahis} head", "the kite got caught in a tree", "the kite climbed higher and higher until it was only a dot", "kite"),
    ("paint", "{Ahe} spilled all the blue paint", "{Ahis} picture of a house looked like a potato", "{Ahe} painted a sunrise that seemed to glow", "paintbrush"),
    ("read", "the letters seemed to jump about on the page", "{Ahe} mixed up all the words and grew very cross", "{Ahe} read a whole page aloud without a mistake", "book"),
    ("row a boat", "the boat turned round and round", "{Ahe} lost one oar and drifted into the reeds", "the boat went as straight as an arrow", "boat"),
    ("ride a bicycle", "{Ahe} fell into a bush", "{Ahe} forgot how to stop and landed in a heap of hay", "{Ahe} rode all the way down the road and rang the bell", "bicycle"),
    ("write", "the pencil broke after one word", "{Ahis} letters leaned over like tired trees", "{Ahe} wrote a whole letter in neat, round words", "pencil"),
    ("sew", "{Ahe} pricked {Ahis} thumb", "{Ahe} sewed the sleeve to {Ahis} own coat", "{Ahe} sewed a fine little bag without one crooked stitch", "needle"),
    ("juggle", "every ball rolled away under the bushes", "one ball landed right on {Ahis} nose", "three balls flew round and round as if by magic", "ball"),
]

# what grows: (seed phrase, grown thing, gift made of it)
GROW = {
    "seed": ("seed", "a tall yellow sunflower", "a handful of new seeds"),
    "flower": ("flower seed", "a bright red flower", "a little bunch of flowers"),
    "apple": ("apple seed", "a young apple tree", "a basket of sweet apples"),
    "pumpkin": ("pumpkin seed", "a huge orange pumpkin", "a bowl of warm pumpkin soup"),
    "carrot": ("carrot seed", "a row of crisp carrots", "a bundle of carrots"),
    "sunflower": ("sunflower seed", "a tall sunflower", "a bag of sunflower seeds"),
    "strawberry": ("strawberry plant", "a bed full of strawberries", "a bowl of strawberries"),
    "bean": ("bean", "a long, twisting beanstalk", "a pot of bean stew"),
    "rose": ("rose bush", "a deep red rose", "the most beautiful rose"),
    "acorn": ("acorn", "a strong little oak tree", "a seat in the cool shade"),
    "turnip": ("turnip seed", "an enormous turnip", "a pot of turnip soup"),
    "cherry": ("cherry stone", "a fine cherry tree", "a jar of cherry jam"),
}
