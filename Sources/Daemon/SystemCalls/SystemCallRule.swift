/// A system call that's allowed, perhaps only where its arguments are certain ones.
struct SystemCallRule: Hashable, Sendable, ExpressibleByStringLiteral {
    /// As libseccomp calls it; architectures that don't have it leave it out.
    let name: String
    /// What must be true of its arguments, all of it.
    let conditions: [ArgumentCondition]

    init(_ name: String, where conditions: ArgumentCondition...) {
        self.name = name
        self.conditions = conditions
    }

    init(stringLiteral name: String) { self.init(name) }
}

/// An argument of which some bits have a certain value.
struct ArgumentCondition: Hashable, Sendable {
    /// The first one is 0.
    let argument: UInt32
    let mask: UInt64
    let value: UInt64

    /// An argument of C's type int; what stands in the register's other half isn't looked at, nor does the kernel.
    static func int(_ argument: UInt32, is value: CInt) -> Self {
        Self(argument: argument, mask: 0xffff_ffff, value: UInt64(UInt32(bitPattern: value)))
    }

    static func bits(_ argument: UInt32, _ mask: CInt, are value: CInt = 0) -> Self {
        Self(argument: argument, mask: UInt64(UInt32(bitPattern: mask)), value: UInt64(UInt32(bitPattern: value)))
    }

    static func isNull(_ argument: UInt32) -> Self { Self(argument: argument, mask: .max, value: 0) }
}
