@_exported public import TandemCluster
@_exported public import TandemCore
@_exported public import TandemPostgres
@_exported public import TandemTransactions
