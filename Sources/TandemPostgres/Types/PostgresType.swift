/// A data type of the server, by its object identifier.
///
/// The built-in types have constants. A type made by `CREATE TYPE` or by an extension has an identifier of its own in each database.
public struct PostgresType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The `oid` of the type's row in `pg_type`; 0 where nobody says which type it is.
    public let rawValue: UInt32

    /// A type by its object identifier.
    ///
    /// - Parameter rawValue: The `oid` of its row in `pg_type`.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// No type is declared: the server infers one, as it does for a literal.
    public static let unspecified = Self(rawValue: 0)
    /// `boolean`
    public static let bool = Self(rawValue: 16)
    /// `bytea`
    public static let bytea = Self(rawValue: 17)
    /// `"char"`, one byte, as in the system catalogs
    public static let char = Self(rawValue: 18)
    /// `name`
    public static let name = Self(rawValue: 19)
    /// `bigint`
    public static let int8 = Self(rawValue: 20)
    /// `smallint`
    public static let int2 = Self(rawValue: 21)
    /// `integer`
    public static let int4 = Self(rawValue: 23)
    /// `text`
    public static let text = Self(rawValue: 25)
    /// `oid`
    public static let oid = Self(rawValue: 26)
    /// `xid`
    public static let xid = Self(rawValue: 28)
    /// `cid`
    public static let cid = Self(rawValue: 29)
    /// `json`
    public static let json = Self(rawValue: 114)
    /// `xml`
    public static let xml = Self(rawValue: 142)
    /// `real`
    public static let float4 = Self(rawValue: 700)
    /// `double precision`
    public static let float8 = Self(rawValue: 701)
    /// `unknown`
    public static let unknown = Self(rawValue: 705)
    /// `money`
    public static let money = Self(rawValue: 790)
    /// `character(n)`
    public static let bpchar = Self(rawValue: 1042)
    /// `character varying`
    public static let varchar = Self(rawValue: 1043)
    /// `date`
    public static let date = Self(rawValue: 1082)
    /// `time without time zone`
    public static let time = Self(rawValue: 1083)
    /// `timestamp without time zone`
    public static let timestamp = Self(rawValue: 1114)
    /// `timestamp with time zone`
    public static let timestamptz = Self(rawValue: 1184)
    /// `interval`
    public static let interval = Self(rawValue: 1186)
    /// `time with time zone`
    public static let timetz = Self(rawValue: 1266)
    /// `numeric`
    public static let numeric = Self(rawValue: 1700)
    /// `void`
    public static let void = Self(rawValue: 2278)
    /// `uuid`
    public static let uuid = Self(rawValue: 2950)
    /// `pg_lsn`
    public static let pgLSN = Self(rawValue: 3220)
    /// `jsonb`
    public static let jsonb = Self(rawValue: 3802)
    /// `xid8`
    public static let xid8 = Self(rawValue: 5069)
    /// `boolean[]`
    public static let boolArray = Self(rawValue: 1000)
    /// `bytea[]`
    public static let byteaArray = Self(rawValue: 1001)
    /// `bigint[]`
    public static let int8Array = Self(rawValue: 1016)
    /// `smallint[]`
    public static let int2Array = Self(rawValue: 1005)
    /// `integer[]`
    public static let int4Array = Self(rawValue: 1007)
    /// `text[]`
    public static let textArray = Self(rawValue: 1009)
    /// `json[]`
    public static let jsonArray = Self(rawValue: 199)
    /// `real[]`
    public static let float4Array = Self(rawValue: 1021)
    /// `double precision[]`
    public static let float8Array = Self(rawValue: 1022)
    /// `character varying[]`
    public static let varcharArray = Self(rawValue: 1015)
    /// `date[]`
    public static let dateArray = Self(rawValue: 1182)
    /// `timestamp without time zone[]`
    public static let timestampArray = Self(rawValue: 1115)
    /// `timestamp with time zone[]`
    public static let timestamptzArray = Self(rawValue: 1185)
    /// `interval[]`
    public static let intervalArray = Self(rawValue: 1187)
    /// `numeric[]`
    public static let numericArray = Self(rawValue: 1231)
    /// `uuid[]`
    public static let uuidArray = Self(rawValue: 2951)
    /// `jsonb[]`
    public static let jsonbArray = Self(rawValue: 3807)

    /// The name that PostgreSQL gives the type, or `type 16385` where it is not a built-in one.
    public var description: String {
        if let entry = Self.catalog[rawValue] { return entry.name }
        return rawValue == 0 ? "unspecified type" : "type \(rawValue)"
    }
}

extension PostgresType {
    /// The first object identifier that the server gives to what users create.
    static let firstUserDefined: UInt32 = 16384

    /// The type was made by a user or an extension: an enum, a composite, a domain's array.
    var isUserDefined: Bool { rawValue >= Self.firstUserDefined }

    /// The column holds JSON.
    var isJSON: Bool { self == .json || self == .jsonb }

    /// The binary form of a value is its text.
    var isTextLike: Bool {
        switch self {
        case .text, .varchar, .bpchar, .name, .unknown, .json, .xml, .char: true
        default: false
        }
    }

    /// The type of the elements if this is the array type of a built-in type.
    var element: PostgresType? {
        guard let element = Self.catalog[rawValue]?.element else { return nil }
        return PostgresType(rawValue: element)
    }

    private struct Entry {
        let name: String
        let element: UInt32?
    }

    /// Built-in types with their names, and their array types with their elements, from `pg_type`.
    private static let catalog: [UInt32: Entry] = {
        let rows: [(name: String, oid: UInt32, array: UInt32)] = [
            ("bool", 16, 1000), ("bytea", 17, 1001), ("char", 18, 1002), ("name", 19, 1003), ("int8", 20, 1016), ("int2", 21, 1005),
            ("int4", 23, 1007), ("text", 25, 1009), ("oid", 26, 1028), ("tid", 27, 1010), ("xid", 28, 1011), ("cid", 29, 1012),
            ("json", 114, 199), ("xml", 142, 143), ("cidr", 650, 651), ("float4", 700, 1021), ("float8", 701, 1022), ("unknown", 705, 0),
            ("money", 790, 791), ("macaddr", 829, 1040), ("inet", 869, 1041), ("bpchar", 1042, 1014), ("varchar", 1043, 1015),
            ("date", 1082, 1182), ("time", 1083, 1183), ("timestamp", 1114, 1115), ("timestamptz", 1184, 1185), ("interval", 1186, 1187),
            ("timetz", 1266, 1270), ("bit", 1560, 1561), ("varbit", 1562, 1563), ("numeric", 1700, 1231), ("regclass", 2205, 2210),
            ("record", 2249, 2287), ("void", 2278, 0), ("uuid", 2950, 2951), ("pg_lsn", 3220, 3221), ("jsonb", 3802, 3807),
            ("xid8", 5069, 271),
        ]
        var catalog: [UInt32: Entry] = [:]
        for row in rows {
            catalog[row.oid] = Entry(name: row.name, element: nil)
            if row.array != 0 { catalog[row.array] = Entry(name: row.name + "[]", element: row.oid) }
        }
        return catalog
    }()
}
