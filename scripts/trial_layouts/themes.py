"""Words for the planted items: films, books, music, goods, news, restaurants."""

from trial_layouts.planting import Group, Theme

FILMS = Theme(
    (
        Group(
            ("Sci-Fi", "Action"),
            ("Silent", "Orbital", "Distant", "Éternel"),
            ("Nebula", "Starship", "Galaxy", "Robot", "Comet"),
            ("North Star Pictures", "Ada Quill"),
        ),
        Group(
            ("Romance", "Musical"),
            ("Tender", "Summer", "Secret", "Señorita's"),
            ("Kiss", "Wedding", "Waltz", "Letter", "Bouquet"),
            ("Rosewood Films", "Leo Marchetti"),
        ),
        Group(
            ("Horror", "Thriller"),
            ("Haunted", "Bloody", "Midnight", "Böse"),
            ("Crypt", "Vampire", "Cellar", "Scream", "Grave"),
            ("Black Lantern", "Greta Holm"),
        ),
    ),
    "Drama",
)
BOOKS = Theme(
    (
        Group(
            ("fantasy", "dragons"),
            ("Dragon's", "Enchanted", "Elven", "Wizard's"),
            ("Throne", "Sword", "Prophecy", "Tower", "Spell"),
            ("Maren Oakes", "T. H. Brandvold"),
        ),
        Group(
            ("mystery", "detective"),
            ("Murdered", "Missing", "Poisoned", "Stolen"),
            ("Inspector", "Witness", "Clue", "Alibi", "Corpse"),
            ("Agnes Poole", "Inès Béranger"),
        ),
        Group(
            ("cooking", "baking"),
            ("Vegetarian", "Sourdough", "Simple", "Italian"),
            ("Kitchen", "Recipes", "Bread", "Pasta", "Desserts"),
            ("Chef Rosa Lind", "Paul Åkesson"),
        ),
    ),
    "favorites",
)
MUSIC = Theme(
    (
        Group(
            ("black metal", "doom metal"),
            ("Iron", "Rotten", "Frozen", "Burning"),
            ("Skull", "Altar", "Throne", "Abyss", "Hammer"),
            ("Forge Records", "Nattlys"),
        ),
        Group(
            ("bebop", "swing"),
            ("Blue", "Mellow", "Uptown", "Smoky"),
            ("Trumpet Quartet", "Sax Trio", "Swing Band", "Piano Duo", "Big Band"),
            ("Verve Street", "Minton's"),
        ),
        Group(
            ("techno", "house"),
            ("Acid", "Neon", "Digital", "Analog"),
            ("Pulse", "Rave", "Modulator", "Circuit", "Subwoofer"),
            ("Tresor Nord", "Warehouse 9"),
        ),
    ),
    "seen live",
)
GOODS = Theme(
    (
        Group(
            ("Cheese", "Dairy"),
            ("Aged", "Smoked", "Creamy", "Blue"),
            ("Gouda Cheese", "Cheddar Cheese", "Brie Cheese", "Goat Cheese", "Feta Cheese"),
            ("Alpine Dairy", "Formaggi Fortini"),
        ),
        Group(
            ("Garden Tools", "Outdoor Tools"),
            ("Steel", "Folding", "Long", "Rusty"),
            ("Spade", "Rake", "Pruning Saw", "Watering Can", "Hedge Trimmer"),
            ("Greenfinger", "Oak & Ash"),
        ),
        Group(
            ("Stationery", "Office Paper"),
            ("Ruled", "Pocket", "Recycled", "Leather"),
            ("Notebook", "Fountain Pen", "Envelope", "Calendar", "Sketchbook"),
            ("Papeterie Lune", "Inkwell"),
        ),
    ),
    "Everyday",
)
NEWS = Theme(
    (
        Group(
            ("sports", "football"),
            ("Quarterback", "Coach", "Team", "Rookie"),
            ("Wins Playoff Game", "Scores Late Touchdown", "Loses Season Opener", "Signs New Contract", "Injures Knee"),
            ("Packers", "Steelers"),
        ),
        Group(
            ("finance", "markets"),
            ("Bank", "Stock", "Mortgage", "Bond"),
            ("Rates Rise", "Shares Tumble", "Profits Beat Forecasts", "Investors Worry", "Dividend Cut"),
            ("Federal Reserve", "Nasdaq"),
        ),
        Group(
            ("health", "nutrition"),
            ("Doctors", "Vaccine", "Dieters", "Sleep"),
            ("Warn of Flu", "Study Surprises", "Lower Heart Risk", "Trial Begins", "Need Vitamins"),
            ("World Health Organization", "Mayo Clinic"),
        ),
    ),
    "news",
)
RESTAURANTS = Theme(
    (
        Group(
            ("Mexican", "Tacos"),
            ("Taqueria", "Cantina", "Cocina", "Fonda"),
            ("El Burrito", "La Tortilla", "Mole Poblano", "Jalapeño", "Enchilada"),
            ("Ana", "Luis"),
        ),
        Group(
            ("Japanese", "Sushi"),
            ("Sushi", "Ramen", "Tempura", "Izakaya"),
            ("Sakura", "Tokyo", "Wasabi", "Kyoto", "Samurai"),
            ("Ken", "Yuki"),
        ),
        Group(
            ("Italian", "Pizzeria"),
            ("Pizzeria", "Trattoria", "Osteria", "Gelateria"),
            ("Napoli", "Vesuvio", "Toscana", "Parmigiano", "Roma"),
            ("Gino", "Carla"),
        ),
    ),
    "cash",
)
